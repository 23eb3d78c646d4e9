//! The chat page: one document that loads nothing.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use crate::runtime::server::body::{self, Body};

macro_rules! style {
    () => {
        include_str!("page/style.css")
    };
}

macro_rules! script {
    () => {
        concat!(include_str!("page/markdown.js"), include_str!("page/chat.js"))
    };
}

const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    style!(),
    "</style>\n<body>\n",
    include_str!("page/body.html"),
    "<script>",
    script!(),
    "</script>\n",
);

/// What the page may do: run its own script and style, known by their hashes, and talk to this server. A test holds that the hashes are
/// right.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-YGsz42I6gA6mYIwrP6iMsuhiGHp+1s/YFTY4p/mtJXA='; style-src 'sha256-Z+DsiNT1jYJXas4w5BWEZOr9Zzjc0CnidvAAR4y4aCs='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The page, as a response.
pub(super) fn response() -> Response<Body> {
    let body = Body::Whole(PAGE.into());
    let mut response = body::response(StatusCode::OK, "text/html; charset=utf-8", body);
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    use sha2::{Digest, Sha256};

    use super::*;

    /// `'sha256-…'` as the policy has it.
    fn source(text: &str) -> String {
        let digest = Sha256::digest(text.as_bytes());
        format!("'sha256-{}'", BASE64_STANDARD.encode(digest))
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_of_the_page() {
        for (directive, text) in [("script-src", script!()), ("style-src", style!())] {
            let wanted = format!("{directive} {};", source(text));
            assert!(POLICY.contains(&wanted), "put this into POLICY: {wanted}");
        }
        for close in ["</script", "</style", "<!--"] {
            assert!(!script!().contains(close) && !style!().contains(close), "{close} would end the element");
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        for loads in [
            "src=",
            "@import",
            "url(",
            "import(",
            "eval(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
        ] {
            assert!(!PAGE.contains(loads), "{loads}");
        }
        let links = PAGE.matches("<link ").count();
        assert_eq!((links, PAGE.matches("href=\"data:").count()), (1, 1), "but for its icon");
    }
}
