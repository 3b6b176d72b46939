"""Signs a person in with unmodified azure-identity, MSAL and Authlib and prints what comes of it, one thing a line.

A library opens a browser by Python's own `webbrowser`; here that prints the address, and whoever runs this script opens
it. Everything else comes from the environment: AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID,
AZURE_CLIENT_SECRET, SDK_REDIRECT_URI, REQUESTS_CA_BUNDLE, SSL_CERT_FILE.
"""

import os
import sys
import webbrowser

import msal
import requests
from authlib.integrations.requests_client import OAuth2Session
from azure.identity import AuthorizationCodeCredential, InteractiveBrowserCredential
from joserfc import jwt
from joserfc.jwk import KeySet

SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
CONTROL_SCOPE = "api://portcullis/.default"
PUBLIC_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


def setting(name):
    return os.environ[name]


def say(line):
    print(line, flush=True)


class Told(webbrowser.BaseBrowser):
    """A browser that someone else drives."""

    def open(self, url, new=0, autoraise=True):
        say(url)
        return True


webbrowser.register("told", None, Told("told"), preferred=True)


def authority():
    return setting("AZURE_AUTHORITY_HOST").rstrip("/") + "/" + setting("AZURE_TENANT_ID")


def of(result):
    if "access_token" not in result:
        sys.exit(f"{result.get('error')}: {result.get('error_description')}")
    return result["access_token"]


def msal_interactive():
    """The address; then a token, one from the cache, and one for another resource by refresh."""
    application = msal.PublicClientApplication(PUBLIC_CLIENT, authority=authority(), instance_discovery=False)
    say(of(application.acquire_token_interactive([SCOPE], prompt="select_account")))
    [account] = application.get_accounts()
    say(of(application.acquire_token_silent([SCOPE], account)))
    say(of(application.acquire_token_silent([CONTROL_SCOPE], account)))
    say(account["username"])


def interactive():
    credential = InteractiveBrowserCredential(tenant_id=setting("AZURE_TENANT_ID"), disable_instance_discovery=True)
    record = credential.authenticate(scopes=[SCOPE])
    say(credential.get_token(SCOPE).token)
    say(record.username)


def parameters(address):
    query = requests.compat.urlparse(address.strip()).query
    pairs = (pair.split("=", 1) for pair in query.split("&"))
    return {name: requests.compat.unquote(value) for name, value in pairs}


def msal_code():
    """A web application: the address; then, given where the browser was sent back to, a token."""
    application = msal.ConfidentialClientApplication(
        setting("AZURE_CLIENT_ID"),
        client_credential=setting("AZURE_CLIENT_SECRET"),
        authority=authority(),
        instance_discovery=False,
    )
    flow = application.initiate_auth_code_flow([SCOPE], redirect_uri=setting("SDK_REDIRECT_URI"))
    say(flow["auth_uri"])
    say(of(application.acquire_token_by_auth_code_flow(flow, parameters(sys.stdin.readline()))))
    [account] = application.get_accounts()
    say(account["username"])


def code():
    """azure-identity redeems a code that the application has got itself, without PKCE."""
    query = {
        "client_id": setting("AZURE_CLIENT_ID"),
        "response_type": "code",
        "redirect_uri": setting("SDK_REDIRECT_URI"),
        "scope": SCOPE + " openid offline_access",
    }
    say(authority() + "/oauth2/v2.0/authorize?" + requests.compat.urlencode(query))
    credential = AuthorizationCodeCredential(
        tenant_id=setting("AZURE_TENANT_ID"),
        client_id=setting("AZURE_CLIENT_ID"),
        authorization_code=parameters(sys.stdin.readline())["code"],
        redirect_uri=setting("SDK_REDIRECT_URI"),
        client_secret=setting("AZURE_CLIENT_SECRET"),
    )
    say(credential.get_token(SCOPE).token)


def openid():
    """A relying party that knows nothing of Azure: discovery, code with PKCE, keys, userinfo, refresh, revocation. It
    waits for a line before it renews, so that the keys can be rotated in between."""
    document = requests.get(authority() + "/v2.0/.well-known/openid-configuration").json()
    session = OAuth2Session(
        setting("AZURE_CLIENT_ID"),
        setting("AZURE_CLIENT_SECRET"),
        scope="openid profile offline_access",
        redirect_uri=setting("SDK_REDIRECT_URI"),
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
    )
    verifier = "v" * 64
    address, state = session.create_authorization_url(
        document["authorization_endpoint"], nonce="n-0S6", code_verifier=verifier
    )
    say(address)
    back = sys.stdin.readline().strip()
    token = session.fetch_token(
        document["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier
    )

    def checked(id_token, **more):
        keys = KeySet.import_key_set(requests.get(document["jwks_uri"]).json())
        token = jwt.decode(id_token, keys, algorithms=["RS256"])
        demands = {"iss": document["issuer"], "aud": setting("AZURE_CLIENT_ID"), **more}
        demands = {name: {"essential": True, "value": value} for name, value in demands.items()}
        jwt.JWTClaimsRegistry(exp={"essential": True}, **demands).validate(token.claims)
        return token.claims, token.header["kid"]

    claims, first = checked(token["id_token"], nonce="n-0S6")
    say(claims["preferred_username"])
    who = session.get(document["userinfo_endpoint"])
    say(who.json()["preferred_username"])
    sys.stdin.readline()
    token = session.refresh_token(document["token_endpoint"], token["refresh_token"])
    _, second = checked(token["id_token"])
    say("another key" if second != first else "the same key")
    gone = session.revoke_token(document["revocation_endpoint"], token["refresh_token"])
    say(str(gone.status_code))
    say(str(session.get(document["userinfo_endpoint"]).status_code))


if __name__ == "__main__":
    {
        "msal-interactive": msal_interactive,
        "interactive": interactive,
        "msal-code": msal_code,
        "code": code,
        "openid": openid,
    }[sys.argv[1]]()
