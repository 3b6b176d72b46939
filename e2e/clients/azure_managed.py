"""Gets a database token with unmodified azure-identity, as a process on a host does: without a secret.

What it asks for is in the environment: nothing, or one of CLIENT_ID, OBJECT_ID and RESOURCE_ID. Where, is what the
library itself looks for: AZURE_POD_IDENTITY_AUTHORITY_HOST, or IDENTITY_ENDPOINT and IDENTITY_HEADER, or nothing at all.
"""

import asyncio
import os
import sys

from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.identity.aio import ManagedIdentityCredential as AioManagedIdentityCredential

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"

WANTED = {
    name: os.environ[variable]
    for name, variable in (("client_id", "CLIENT_ID"), ("object_id", "OBJECT_ID"), ("resource_id", "RESOURCE_ID"))
    if variable in os.environ
}


def managed():
    if "client_id" in WANTED or not WANTED:
        return ManagedIdentityCredential(**WANTED)
    return ManagedIdentityCredential(identity_config=WANTED)


async def aio():
    async with AioManagedIdentityCredential(**WANTED) as credential:
        return await credential.get_token(SCOPE)


def main(which):
    if which == "managed":
        return managed().get_token(SCOPE)
    if which == "aio":
        return asyncio.run(aio())
    return DefaultAzureCredential(managed_identity_client_id=WANTED.get("client_id")).get_token(SCOPE)


print(main(sys.argv[1]).token, flush=True)
