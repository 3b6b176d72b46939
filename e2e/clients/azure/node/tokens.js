// Gets database tokens with unmodified @azure/identity and @azure/msal-node and prints them, one a line. Everything comes
// from the environment, as in an application; NODE_EXTRA_CA_CERTS has the authority's certificate.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const identity = require("@azure/identity");
const msal = require("@azure/msal-node");

const SCOPE = "https://ossrdbms-aad.database.windows.net/.default";
const { AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_AUTHORITY_HOST } = process.env;
const CERTIFICATE_PATH = process.env.AZURE_CLIENT_CERTIFICATE_PATH;
const option = { disableInstanceDiscovery: true };

const say = (token) => console.log(token);
const of = async (credential) => say((await credential.getToken(SCOPE)).token);

const confidential = async (auth) => {
  const authority = AZURE_AUTHORITY_HOST + AZURE_TENANT_ID;
  const knownAuthorities = [new URL(AZURE_AUTHORITY_HOST).host];
  const application = new msal.ConfidentialClientApplication({
    auth: { clientId: AZURE_CLIENT_ID, authority, knownAuthorities, ...auth },
  });
  say((await application.acquireTokenByClientCredential({ scopes: [SCOPE] })).accessToken);
};

const certificate = () => {
  const pem = fs.readFileSync(CERTIFICATE_PATH, "utf8");
  const x509 = new crypto.X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE")));
  const thumbprintSha256 = x509.fingerprint256.replaceAll(":", "");
  return { thumbprintSha256, privateKey: pem.slice(0, pem.indexOf("-----BEGIN CERTIFICATE")) };
};

const ways = {
  secret: () =>
    of(new identity.ClientSecretCredential(AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, option)),
  certificate: () =>
    of(new identity.ClientCertificateCredential(AZURE_TENANT_ID, AZURE_CLIENT_ID, CERTIFICATE_PATH, option)),
  // Without the option: it asks only the authority that the environment names.
  default: () => of(new identity.DefaultAzureCredential()),
  "workload-identity": () => of(new identity.WorkloadIdentityCredential(option)),
  "msal-secret": () => confidential({ clientSecret: AZURE_CLIENT_SECRET }),
  "msal-certificate": () => confidential({ clientCertificate: certificate() }),
  "msal-federated": () =>
    confidential({ clientAssertion: fs.readFileSync(process.env.AZURE_FEDERATED_TOKEN_FILE, "utf8") }),
};

ways[process.argv[2]]().catch((error) => {
  console.error(String(error));
  process.exitCode = 1;
});
