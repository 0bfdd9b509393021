//! Pages of other sites that call from a browser.

use reqwest::Method;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

const PAGE: &str = "http://localhost:5173";
const PATHS: [&str; 6] =
    ["/api/tasks", "/api/v1/devices", "/api/v1/strategies", "/hosting/api/miners", "/platform/v1/events", "/health"];

#[tokio::test]
async fn pages_that_the_settings_name_may_call_every_product() {
    let server = TestServer::start(Engine::Sqlite).await;
    let browser = server.anonymous().with("Origin", PAGE);
    let asking = browser.with("Access-Control-Request-Method", "POST");
    let asking = asking.with("Access-Control-Request-Headers", "authorization,content-type,idempotency-key");
    for path in PATHS {
        let allowed = asking.send(Method::OPTIONS, path, None).await.expect(200);
        assert_eq!(allowed.header("access-control-allow-origin"), PAGE, "{path}");
        assert_eq!(allowed.header("access-control-allow-credentials"), "true");
        assert!(allowed.header("access-control-allow-methods").contains("DELETE"));
        assert!(allowed.header("access-control-allow-headers").contains("idempotency-key"));
        // A refusal can be read as well: it says what is wrong.
        let answer = browser.get(path).await;
        assert_eq!(answer.header("access-control-allow-origin"), PAGE, "{path}");
        assert!(answer.header("access-control-expose-headers").contains("ratelimit-remaining"));
        assert!(answer.header("vary").contains("origin"));
    }
    let body = json!({ "email": "a@example.com", "password": "x" });
    let refused = browser.post("/api/auth/login", body).await.expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), PAGE);
}

#[tokio::test]
async fn other_pages_may_not() {
    let server = TestServer::start(Engine::Sqlite).await;
    for origin in ["http://localhost:4000", "https://localhost:5173", "http://evil.example", "null"] {
        let browser = server.anonymous().with("Origin", origin);
        let asking = browser.with("Access-Control-Request-Method", "POST");
        for path in PATHS {
            let answer = asking.send(Method::OPTIONS, path, None).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{origin} {path}");
            assert_eq!(browser.get(path).await.header("access-control-allow-origin"), "");
        }
    }
}
