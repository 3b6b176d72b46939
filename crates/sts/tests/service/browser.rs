//! A browser without a script, and an authenticator: cookies, forms, signatures.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::fixture::{Answer, ORIGIN, Sts, encoded};

/// A browser and the page that it shows.
pub(crate) struct Browser<'a> {
    pub(crate) sts: &'a Sts,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) page: String,
}

/// A form of a page: where it leads, its fields.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Form {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl<'a> Browser<'a> {
    pub(crate) fn new(sts: &'a Sts) -> Self {
        Self { sts, cookies: BTreeMap::new(), page: String::new() }
    }

    pub(crate) fn cookie_line(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn ask(&mut self, request: axum::http::request::Builder, body: String) -> Answer {
        let request = request
            .header("cookie", self.cookie_line())
            .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")
            .body(Body::from(body))
            .unwrap();
        let answer = self.sts.ask(request).await;
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            assert!(line.starts_with("__Host-"), "{line}");
            assert!(line.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        self.page.clone_from(&answer.text);
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(Request::get(path), String::new()).await
    }

    pub(crate) async fn post(&mut self, form: &Form) -> Answer {
        let fields: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request::post(form.action.as_str())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.ask(request, encoded(&fields)).await
    }

    /// The page's form that leads there and has all that in it.
    pub(crate) fn form(&self, action: &str, containing: &str) -> Form {
        let start = format!("<form method=\"post\" action=\"{action}\"");
        let inline = format!("action=\"{action}\"");
        let forms =
            self.page.split("<form ").skip(1).map(|rest| rest.split("</form>").next().unwrap());
        let found = forms
            .filter(|form| start.ends_with(&inline) && form.contains(&inline))
            .find(|form| form.contains(containing));
        let form = found.unwrap_or_else(|| panic!("no form for {action} in {}", self.page));
        let fields = form.split("<input ").skip(1).filter_map(|input| {
            let input = input.split('>').next().unwrap();
            Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))
        });
        Form { action: action.to_owned(), fields: fields.collect() }
    }

    /// Uses a fresh pass; the page that adds keys.
    pub(crate) async fn use_pass(&mut self, user: &str) -> Answer {
        let pass = self.sts.pass(user).await;
        self.get("/account").await;
        let form = self.form("/signin/pass", "").with("user", user).with("pass", &pass);
        self.post(&form).await
    }

    /// Adds a passkey by a pass and signs in with it.
    pub(crate) async fn enrolled(sts: &'a Sts, user: &str) -> (Self, Passkey) {
        let mut browser = Self::new(sts);
        let answer = browser.use_pass(user).await;
        assert!(answer.text.contains("Set up your sign-in"), "{}", answer.text);
        let mut key = Passkey::new();
        let added = browser.add(&mut key).await;
        assert!(added.text.contains("The passkey was added."), "{}", added.text);
        let signed_in = browser.sign_in(&mut key).await;
        assert_eq!(signed_in.status, 303, "{}", signed_in.text);
        (browser, key)
    }

    /// Has the authenticator make a key on the page at hand.
    pub(crate) async fn add(&mut self, key: &mut Passkey) -> Answer {
        let form = self.form("/account/passkeys", "data-passkey=\"create\"");
        let user = attribute_of_options(&self.page, "create", "\"id\":\"", 1);
        key.user = URL_SAFE_NO_PAD.decode(user).unwrap();
        let (client_data, data) = key.made(&form.fields["challenge"]);
        let form = form.with("client_data", &client_data).with("authenticator_data", &data);
        self.post(&form).await
    }

    /// Signs in on the page at hand.
    pub(crate) async fn sign_in(&mut self, key: &mut Passkey) -> Answer {
        let form = key.signed(self.form("/signin/passkey", ""), ORIGIN);
        self.post(&form).await
    }
}

fn attribute(input: &str, name: &str) -> Option<String> {
    let rest = input.split(&format!("{name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    let value = value.replace("&quot;", "\"").replace("&#39;", "'");
    Some(value.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

/// The value behind the `nth` mark in the options of a passkey form.
fn attribute_of_options(page: &str, kind: &str, mark: &str, nth: usize) -> String {
    let form = page.split(&format!("data-passkey=\"{kind}\"")).nth(1).unwrap();
    let options = attribute(form, "data-options").unwrap();
    let user = options.split("\"user\":").nth(nth).unwrap();
    user.split(mark).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// An authenticator with one key.
pub(crate) struct Passkey {
    pair: EcdsaKeyPair,
    pub(crate) id: [u8; 16],
    pub(crate) user: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) flags: u8,
}

impl Passkey {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = Uuid::new_v4().into_bytes();
        Self { pair, id, user: Vec::new(), count: 0, flags: 0x05 }
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let site = digest(&SHA256, b"sts.test");
        [site.as_ref(), &[flags], &self.count.to_be_bytes()].concat()
    }

    /// Client data and authenticator data of a new key, in base64url.
    fn made(&self, challenge: &str) -> (String, String) {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let key = [
            &[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20],
            x,
            &[0x22, 0x58, 0x20],
            y,
        ]
        .concat();
        let data = [self.head(self.flags | 0x40), vec![0; 16], vec![0, 16], self.id.to_vec(), key]
            .concat();
        let client_data = client_data("webauthn.create", challenge, ORIGIN);
        (URL_SAFE_NO_PAD.encode(client_data), URL_SAFE_NO_PAD.encode(data))
    }

    /// The form, signed at this origin.
    pub(crate) fn signed(&mut self, form: Form, origin: &str) -> Form {
        if self.count > 0 {
            self.count += 1;
        }
        let client_data = client_data("webauthn.get", &form.fields["challenge"], origin);
        let data = self.head(self.flags);
        let signed = [data.as_slice(), digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        form.with("credential", &URL_SAFE_NO_PAD.encode(self.id))
            .with("user_handle", &URL_SAFE_NO_PAD.encode(&self.user))
            .with("client_data", &URL_SAFE_NO_PAD.encode(client_data))
            .with("authenticator_data", &URL_SAFE_NO_PAD.encode(data))
            .with("signature", &URL_SAFE_NO_PAD.encode(signature))
    }
}

fn client_data(kind: &str, challenge: &str, origin: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"}}"#)
}
