//! Paths and queries of the API, percent-encoded.

/// A path with its query.
#[derive(Clone, Debug)]
pub(crate) struct Address(String);

impl Address {
    /// The path of these segments.
    pub(crate) fn of(segments: &[&str]) -> Self {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            encode(segment, &mut text);
        }
        Self(text)
    }

    /// The same with a parameter.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        encode(value, &mut self.0);
        self
    }

    /// The same with a parameter, if there is a value for it.
    #[must_use]
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// As it stands in a request.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 3986 §2.3: everything but the unreserved characters is encoded.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            let digits = format!("%{byte:02X}");
            to.push_str(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        let address = Address::of(&["v1", "users", "a/../b?c@example.com"])
            .with("text", "drop table")
            .maybe("since", None)
            .maybe("actor", Some("é"));
        assert_eq!(
            address.as_str(),
            "/v1/users/a%2F..%2Fb%3Fc%40example.com?text=drop%20table&actor=%C3%A9"
        );
    }
}
