use super::*;

#[test]
fn the_page_is_there_without_a_key_and_may_only_talk_to_this_server() {
    let server =
        Server::with(Options { api_key: Some("secret".to_owned()), ..options() }, SPEC, |engine| engine);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>") && page.body.ends_with("</script>\n"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.post("/", &json!({})).status, 405);
    server.end();
}
