//! Names and titles that others read later show all that is in them, in every product.

use api::surface::Surface;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::TestServer;

use crate::operations::has_its_form;

/// What no screen shows, and what makes a text look like another one.
const HIDDEN: [char; 6] = ['\u{1b}', '\u{85}', '\u{9b}', '\u{202e}', '\u{2066}', '\n'];

struct Field {
    surface: Surface,
    path: &'static str,
    body: Value,
    name: &'static str,
}

/// Requests that are taken as they are, and the field of each that people read later.
fn fields() -> Vec<Field> {
    let field = |surface, path, name, body| Field { surface, path, body, name };
    let grid =
        json!({ "upper_price": 120, "lower_price": 80, "grid_count": 4, "total_investment": 100, "leverage": 1 });
    let strategy = json!({ "name": "x", "strategy_type": "grid", "symbol": "BTC", "config": grid });
    let site = |slug: &str| json!({ "name": "North", "slug": slug, "location": "Oslo", "capacity_mw": 5 });
    let customer = json!({ "name": "Ada", "company": "Northern Hash" });
    vec![
        field(Surface::Bitrun, "/api/v1/accounts", "name", json!({ "name": "Paper", "exchange": "paper" })),
        field(Surface::Bitrun, "/api/v1/quant-strategies", "name", strategy),
        field(
            Surface::Owl,
            "/api/recharge/codes",
            "description",
            json!({ "amount": 5, "description": "新用户充值码" }),
        ),
        field(Surface::Owl, "/api/gpu/servers", "name", json!({ "name": "GPU-Server-01", "host": "192.168.1.100" })),
        field(Surface::Owl, "/api/gpu/servers", "host", json!({ "name": "GPU-Server-01", "host": "192.168.1.100" })),
        field(Surface::HashInsight, "/crm/api/lead", "name", json!({ "name": "Ada", "email": "ada@example.com" })),
        field(Surface::HashInsight, "/crm/api/customer", "name", customer.clone()),
        field(Surface::HashInsight, "/crm/api/customer", "company", customer),
        field(Surface::HashInsight, "/hosting/api/sites", "name", site("north")),
        field(Surface::HashInsight, "/hosting/api/sites", "location", site("south")),
        field(Surface::Zinnia, "/api/v1/devices", "name", json!({ "name": "手机", "device_type": "phone" })),
        field(Surface::Platform, "/platform/v1/tenants", "name", json!({ "name": "Acme" })),
    ]
}

#[tokio::test]
async fn names_hold_nothing_that_is_not_seen() {
    let server = TestServer::start(Engine::Sqlite).await;
    let mut findings = Vec::new();
    for Field { surface, path, body, name } in fields() {
        let client = server.admin(surface);
        let head = server.head().await;
        for hidden in HIDDEN {
            let mut body = body.clone();
            body[name] = json!(format!("a{hidden}b"));
            let answer = client.send(Method::POST, path, Some(body.to_string())).await;
            let refused = [400, 422].contains(&answer.status) && has_its_form(surface, &answer);
            if !refused || server.head().await != head {
                findings.push(format!("{path} {name} {hidden:?}: {} {}", answer.status, answer.text));
            }
        }
        let taken = client.send(Method::POST, path, Some(body.to_string())).await;
        if taken.status >= 300 {
            findings.push(format!("{path} {name}: what is right is not taken: {} {}", taken.status, taken.text));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[tokio::test]
async fn refusals_name_the_field_and_notes_have_lines() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owl = server.admin(Surface::Owl);
    let code = json!({ "amount": 5, "description": "a\u{202e}b" });
    let refused = owl.post("/api/recharge/codes", code).await.expect(422);
    let said = refused.at("/details/field_errors/description/0").as_str().unwrap();
    assert!(said.contains("控制字符"), "{}", refused.text);
    let body = json!({ "name": "GPU-Server-01", "host": "192.168.1.100", "description": "第一行\n\t第二行" });
    owl.post("/api/gpu/servers", body).await.expect(200);
    let body = json!({ "name": "GPU-Server-01", "host": "192.168.1.100", "description": "a\u{9b}b" });
    owl.post("/api/gpu/servers", body).await.expect(422);
    let hashinsight = server.admin(Surface::HashInsight);
    let lead = json!({ "name": "Ada", "email": "ada@example.com", "notes": "first\n\tsecond" });
    hashinsight.post("/crm/api/lead", lead).await.expect(200);
}
