//! Pages: written on the server, usable without a script, with nothing in them that was not escaped.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::respond;

const STYLE: &str = include_str!("assets/portcullis.css");
const SCRIPT: &str = include_str!("assets/portcullis.js");

/// Where the assets lie. They change with the binary only, and are small: nothing keeps them.
pub(crate) const STYLE_PATH: &str = "/signin/assets/portcullis.css";
pub(crate) const SCRIPT_PATH: &str = "/signin/assets/portcullis.js";

/// `GET /signin/assets/portcullis.css`.
pub(crate) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// `GET /signin/assets/portcullis.js`.
pub(crate) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

/// Text as it stands in an element or in a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A hidden field.
pub(crate) fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value))
}

/// How wide a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Card,
    Wide,
}

/// A page on its way.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    /// Escaped already.
    pub(crate) body: String,
    pub(crate) width: Width,
    /// Where its forms may lead besides here: browsers hold redirects that follow a form to this too.
    pub(crate) leads_to: Option<String>,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            body: body.into(),
            width: Width::Card,
            leads_to: None,
        }
    }

    #[must_use]
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub(crate) fn wide(mut self) -> Self {
        self.width = Width::Wide;
        self
    }

    #[must_use]
    pub(crate) fn leads_to(mut self, origin: impl Into<String>) -> Self {
        self.leads_to = Some(origin.into());
        self
    }

    fn html(&self) -> String {
        let title = escaped(&self.title);
        let class = match self.width {
            Width::Card => "",
            Width::Wide => " class=\"wide\"",
        };
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title} · Portcullis</title>\
             <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{STYLE_PATH}\">\
             <script src=\"{SCRIPT_PATH}\" defer></script></head>\
             <body><main{class}><p class=\"brand\">Portcullis</p><h1>{title}</h1>{}</main></body></html>\n",
            self.body
        )
    }

    /// Nothing inline, nothing from elsewhere.
    fn policy(&self) -> String {
        let also = self.leads_to.as_deref().map(|origin| format!(" {origin}")).unwrap_or_default();
        format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'{also}"
        )
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = respond::page(self.status, self.html());
        // What it leads to was checked to have no character that a header or the policy would trip over.
        if let Ok(policy) = HeaderValue::from_str(&self.policy()) {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_leaves_its_element_or_attribute(text in any::<String>()) {
            let safe = escaped(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            let back = safe.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            prop_assert_eq!(back.replace("&#39;", "'").replace("&amp;", "&"), text);
        }
    }

    #[test]
    fn a_page_runs_and_fetches_nothing_but_our_own() {
        let page = Page::new("<b>", "<p>x</p>").leads_to("http://localhost:8400");
        assert!(page.html().contains("<h1>&lt;b&gt;</h1><p>x</p>"));
        let policy = page.policy();
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(policy.ends_with("form-action 'self' http://localhost:8400"), "{policy}");
        assert!(!page.html().contains(" style=") && !page.html().contains("<script>"));
    }
}
