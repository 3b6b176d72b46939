"""Gets database tokens with unmodified azure-identity and MSAL and prints them, one a line.

Everything comes from the environment, as in an application: AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID,
AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH, REQUESTS_CA_BUNDLE, SSL_CERT_FILE.
"""

import asyncio
import os
import sys

import msal
from azure.identity import CertificateCredential, ClientSecretCredential, DefaultAzureCredential, DeviceCodeCredential
from azure.identity.aio import CertificateCredential as AioCertificateCredential
from azure.identity.aio import ClientSecretCredential as AioClientSecretCredential

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
        "secret-aio": secret_aio,
        "certificate-aio": certificate_aio,
        "msal-secret": msal_secret,
        "msal-device-code": msal_device_code,
        "device-code": device_code,
    }[sys.argv[1]]()
