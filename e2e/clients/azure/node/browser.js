// Signs a person in with unmodified msal-node and @azure/identity and prints what comes of it, one thing a line. A library
// opens a browser by a function that is given to it; here that prints the address, and whoever runs this opens it.
"use strict";

const readline = require("node:readline/promises");
const { AuthorizationCodeCredential } = require("@azure/identity");
const { ConfidentialClientApplication, CryptoProvider, PublicClientApplication } = require("@azure/msal-node");

const SCOPE = "https://ossrdbms-aad.database.windows.net/.default";
const PUBLIC_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

const { AZURE_AUTHORITY_HOST, AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, SDK_REDIRECT_URI } = process.env;
const authority = AZURE_AUTHORITY_HOST + AZURE_TENANT_ID;
const knownAuthorities = [new URL(AZURE_AUTHORITY_HOST).host];

const say = (line) => console.log(line);

// Where the browser was sent back to.
async function code() {
  const lines = readline.createInterface({ input: process.stdin });
  const address = await new Promise((resolve) => lines.once("line", resolve));
  lines.close();
  return new URL(address).searchParams.get("code");
}

async function interactive() {
  const application = new PublicClientApplication({ auth: { clientId: PUBLIC_CLIENT, authority, knownAuthorities } });
  const result = await application.acquireTokenInteractive({ scopes: [SCOPE], openBrowser: async (url) => say(url) });
  say(result.accessToken);
  say(result.account.username);
  const silent = await application.acquireTokenSilent({ account: result.account, scopes: [SCOPE], forceRefresh: true });
  say(silent.accessToken);
}

async function msalCode() {
  const auth = { clientId: AZURE_CLIENT_ID, clientSecret: AZURE_CLIENT_SECRET, authority, knownAuthorities };
  const application = new ConfidentialClientApplication({ auth });
  const { verifier, challenge } = await new CryptoProvider().generatePkceCodes();
  const asked = { scopes: [SCOPE], redirectUri: SDK_REDIRECT_URI };
  say(await application.getAuthCodeUrl({ ...asked, codeChallenge: challenge, codeChallengeMethod: "S256" }));
  const result = await application.acquireTokenByCode({ ...asked, code: await code(), codeVerifier: verifier });
  say(result.accessToken);
  say(result.account.username);
}

// @azure/identity redeems a code that the application has got itself, without PKCE.
async function azureCode() {
  const auth = { clientId: AZURE_CLIENT_ID, clientSecret: AZURE_CLIENT_SECRET, authority, knownAuthorities };
  const application = new ConfidentialClientApplication({ auth });
  say(await application.getAuthCodeUrl({ scopes: [SCOPE], redirectUri: SDK_REDIRECT_URI }));
  const credential = new AuthorizationCodeCredential(
    AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, await code(), SDK_REDIRECT_URI,
    { authorityHost: AZURE_AUTHORITY_HOST, disableInstanceDiscovery: true },
  );
  say((await credential.getToken(SCOPE)).token);
}

const which = { interactive, "msal-code": msalCode, code: azureCode }[process.argv[2]];
which().then(() => process.exit(0), (error) => {
  console.error(String(error));
  process.exit(1);
});
