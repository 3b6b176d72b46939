"""Gets database tokens with unmodified azure-identity and MSAL and prints them, one a line.

Everything comes from the environment, as in an application: AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID,
AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH, AZURE_FEDERATED_TOKEN_FILE, REQUESTS_CA_BUNDLE, SSL_CERT_FILE.
"""

import asyncio
import base64
import hashlib
import os
import sys

import msal
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    DeviceCodeCredential,
    WorkloadIdentityCredential,
)
from azure.identity.aio import CertificateCredential as AioCertificateCredential
from azure.identity.aio import ClientSecretCredential as AioClientSecretCredential
from azure.identity.aio import DefaultAzureCredential as AioDefaultAzureCredential
from azure.identity.aio import WorkloadIdentityCredential as AioWorkloadIdentityCredential

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
CONTROL_SCOPE = "api://portcullis/.default"
PUBLIC_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


def setting(name):
    return os.environ[name]


def say(line):
    print(line, flush=True)


def authority():
    return setting("AZURE_AUTHORITY_HOST").rstrip("/") + "/" + setting("AZURE_TENANT_ID")


def workload():
    return setting("AZURE_TENANT_ID"), setting("AZURE_CLIENT_ID")


def secret():
    credential = ClientSecretCredential(*workload(), setting("AZURE_CLIENT_SECRET"), disable_instance_discovery=True)
    say(credential.get_token(SCOPE).token)


def certificate():
    credential = CertificateCredential(
        *workload(), setting("AZURE_CLIENT_CERTIFICATE_PATH"), disable_instance_discovery=True
    )
    say(credential.get_token(SCOPE).token)


def default():
    say(DefaultAzureCredential(disable_instance_discovery=True).get_token(SCOPE).token)


async def answered(credential):
    async with credential:
        say((await credential.get_token(SCOPE)).token)


def secret_aio():
    asyncio.run(answered(AioClientSecretCredential(*workload(), setting("AZURE_CLIENT_SECRET"))))


def certificate_aio():
    asyncio.run(answered(AioCertificateCredential(*workload(), setting("AZURE_CLIENT_CERTIFICATE_PATH"))))


def of(result):
    if "access_token" not in result:
        sys.exit(f"{result.get('error')}: {result.get('error_description')}")
    return result["access_token"]


def workload_identity():
    say(WorkloadIdentityCredential().get_token(SCOPE).token)


def workload_identity_aio():
    asyncio.run(answered(AioWorkloadIdentityCredential()))


def default_in_a_pod():
    """Without the option: in a pod's environment it asks only the authority that this names."""
    say(DefaultAzureCredential().get_token(SCOPE).token)


def default_aio():
    asyncio.run(answered(AioDefaultAzureCredential()))


def msal_of(credential):
    application = msal.ConfidentialClientApplication(
        setting("AZURE_CLIENT_ID"), client_credential=credential, authority=authority(), instance_discovery=False
    )
    say(of(application.acquire_token_for_client([SCOPE])))


def msal_certificate():
    with open(setting("AZURE_CLIENT_CERTIFICATE_PATH")) as file:
        pem = file.read()
    key, certificate = pem[: pem.index("-----BEGIN CERT")], pem[pem.index("-----BEGIN CERT") :]
    msal_of({"private_key": key, "public_certificate": certificate, "thumbprint": sha1(certificate)})


def sha1(certificate):
    der = base64.b64decode("".join(certificate.strip().splitlines()[1:-1]))
    return hashlib.sha1(der).hexdigest()


def msal_federated():
    with open(setting("AZURE_FEDERATED_TOKEN_FILE")) as file:
        msal_of({"client_assertion": file.read()})


def msal_secret():
    """The three ways in which MSAL can be told about an authority that is not Microsoft's."""
    ours = authority().rsplit("/", 1)[0] + "/common/discovery/instance"
    for told in (
        {"authority": authority(), "instance_discovery": False},
        {"authority": authority(), "instance_discovery": ours},
        {"oidc_authority": authority() + "/v2.0"},
    ):
        application = msal.ConfidentialClientApplication(
            setting("AZURE_CLIENT_ID"), client_credential=setting("AZURE_CLIENT_SECRET"), **told
        )
        say(of(application.acquire_token_for_client([SCOPE])))


def msal_device_code():
    """The code first; then, approved, a token, one from the cache, and one for another resource by refresh."""
    application = msal.PublicClientApplication(PUBLIC_CLIENT, authority=authority(), instance_discovery=False)
    flow = application.initiate_device_flow([SCOPE])
    if "user_code" not in flow:
        sys.exit(f"{flow.get('error')}: {flow.get('error_description')}")
    say(flow["user_code"])
    say(flow["message"])
    say(of(application.acquire_token_by_device_flow(flow)))
    [account] = application.get_accounts()
    say(of(application.acquire_token_silent([SCOPE], account)))
    say(of(application.acquire_token_silent([CONTROL_SCOPE], account)))
    say(account["username"])


def device_code():
    credential = DeviceCodeCredential(
        tenant_id=setting("AZURE_TENANT_ID"),
        disable_instance_discovery=True,
        prompt_callback=lambda uri, user_code, expires: say(user_code),
    )
    record = credential.authenticate(scopes=[SCOPE])
    say(credential.get_token(SCOPE).token)
    say(record.username)


if __name__ == "__main__":
    {
        "secret": secret,
        "certificate": certificate,
        "default": default,
        "default-aio": default_aio,
        "default-in-a-pod": default_in_a_pod,
        "workload-identity": workload_identity,
        "workload-identity-aio": workload_identity_aio,
        "msal-certificate": msal_certificate,
        "msal-federated": msal_federated,
        "secret-aio": secret_aio,
        "certificate-aio": certificate_aio,
        "msal-secret": msal_secret,
        "msal-device-code": msal_device_code,
        "device-code": device_code,
    }[sys.argv[1]]()
