"""What an application in a pod does: unmodified azure-identity, told about everything by its environment alone.

Prints a database token for each credential that is named.
"""

import asyncio
import sys

from azure.identity import DefaultAzureCredential, WorkloadIdentityCredential
from azure.identity.aio import WorkloadIdentityCredential as AioWorkloadIdentityCredential

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"


def workload():
    return WorkloadIdentityCredential().get_token(SCOPE).token


def default():
    return DefaultAzureCredential().get_token(SCOPE).token


async def of_aio():
    async with AioWorkloadIdentityCredential() as credential:
        return (await credential.get_token(SCOPE)).token


def workload_aio():
    return asyncio.run(of_aio())


for name in sys.argv[1:]:
    print({"workload": workload, "default": default, "workload-aio": workload_aio}[name](), flush=True)
