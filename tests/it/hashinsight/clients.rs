//! Users who are the people of a customer: they see that customer's machines and deals, and nothing else.

use api::surface::Surface;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use super::fleet::{ANTMINER_S21, NOBODY, site};

const PASSWORD: &str = "Str0ng&Fine";

async fn customer(admin: &Client, name: &str) -> i64 {
    let created = admin.post("/crm/api/customer", json!({ "name": name })).await.expect(200);
    let customer = created.at("/customer_id").as_i64().unwrap();
    let deal = json!({ "title": format!("Deal of {name}"), "customer_id": customer, "amount": 100 });
    admin.post("/crm/api/deal", deal).await.expect(200);
    customer
}

async fn miner(admin: &Client, site: i64, sn: &str, customer: Option<i64>) -> i64 {
    let body = json!({ "sn": sn, "model_id": ANTMINER_S21, "site_id": site, "customer_id": customer,
        "ip_address": NOBODY });
    admin.post("/hosting/api/miners/create", body).await.expect(200).at("/miner_id").as_i64().unwrap()
}

/// A user of `role`, and that user's browser.
async fn person(server: &TestServer, name: &str, role: &str) -> (String, Client) {
    let owner = server.admin(Surface::Platform);
    let email = format!("{name}@example.com");
    let created = owner.post("/platform/v1/users", json!({ "email": email, "password": PASSWORD, "role": role })).await;
    let id = created.expect(201).at("/id").as_str().unwrap().to_owned();
    let entered =
        server.anonymous().post_form("/login", &[("email", &email), ("password", PASSWORD)]).await.expect(302);
    (id, server.anonymous().with("cookie", &format!("session={}", entered.cookie("session"))))
}

async fn link(server: &TestServer, user: &str, customer: Option<i64>) -> Value {
    let (owner, body) = (server.admin(Surface::Platform), json!({ "customer_id": customer }));
    let linked = owner.put(&format!("/platform/v1/users/{user}/customer"), body).await.expect(200);
    linked.at("/customer_id").clone()
}

/// The serial numbers that a list of miners shows, and how many it counts.
async fn fleet(browser: &Client, query: &str) -> (Vec<String>, Value) {
    let list = browser.get(&format!("/hosting/api/miners{query}")).await.expect(200);
    let miners = list.at("/miners").as_array().unwrap();
    let numbers = miners.iter().map(|miner| miner["serial_number"].as_str().unwrap().to_owned()).collect();
    (numbers, list.at("/counts/total").clone())
}

#[tokio::test]
async fn a_client_sees_the_own_customers_miners_and_deals_sqlite() {
    a_client_sees_the_own_customers_miners_and_deals(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_client_sees_the_own_customers_miners_and_deals_postgres() {
    a_client_sees_the_own_customers_miners_and_deals(Engine::Postgres).await;
}
async fn a_client_sees_the_own_customers_miners_and_deals(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let (acme, other) = (customer(&admin, "Acme").await, customer(&admin, "Other").await);
    let site = site(&admin, "site-a").await;
    let own = miner(&admin, site, "ACME-1", Some(acme)).await;
    let foreign = miner(&admin, site, "OTHER-1", Some(other)).await;
    miner(&admin, site, "NOBODY-1", None).await;
    let (id, browser) = person(&server, "carol", "client").await;
    // As long as nobody said whose person she is, she sees nothing.
    assert_eq!(fleet(&browser, "").await, (vec![], json!(0)));
    assert_eq!(browser.get("/crm/api/deals").await.expect(200).at("/deals"), &json!([]));
    assert_eq!(link(&server, &id, Some(acme)).await, acme);
    assert_eq!(fleet(&browser, "").await, (vec!["ACME-1".into()], json!(1)));
    assert_eq!(fleet(&browser, &format!("?customer_id={other}")).await, (vec![], json!(0)));
    let head = server.head().await;
    assert_eq!(fleet(&browser, &format!("?as_of={head}")).await, (vec!["ACME-1".into()], json!(1)));
    let deals = browser.get("/crm/api/deals").await.expect(200);
    assert_eq!((deals.at("/deals/0/customer_id"), deals.at("/pagination/total")), (&json!(acme), &json!(1)));
    browser.get(&format!("/hosting/api/miners/{own}/commands")).await.expect(200);
    browser.get(&format!("/hosting/api/miners/{foreign}/commands")).await.expect(404);
    // Looking is all that clients may.
    browser.post(&format!("/hosting/api/miners/{own}/command"), json!({ "command": "restart" })).await.expect(403);
    browser.get("/hosting/api/sites").await.expect(403);
    assert_eq!(link(&server, &id, None).await, Value::Null);
    assert_eq!(fleet(&browser, "").await.1, 0);
}

#[tokio::test]
async fn a_client_sees_the_curtailments_of_the_own_customers_miners() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let (acme, other) = (customer(&admin, "Acme").await, customer(&admin, "Other").await);
    let site = site(&admin, "site-a").await;
    miner(&admin, site, "OTHER-1", Some(other)).await;
    let body = json!({ "site_id": site, "target_reduction_pct": 100, "execution_mode": "manual" });
    admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    for (name, customer, runs) in [("carol", acme, 0), ("oscar", other, 1)] {
        let (id, browser) = person(&server, name, "client").await;
        link(&server, &id, Some(customer)).await;
        let history = browser.get("/hosting/api/curtailment/history").await.expect(200);
        assert_eq!(history.at("/pagination/total"), runs, "{name}");
    }
    assert_eq!(admin.get("/hosting/api/curtailment/history").await.expect(200).at("/pagination/total"), 1);
}

#[tokio::test]
async fn only_clients_and_customers_belong_to_a_customer_of_their_tenant() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(Surface::Platform);
    let acme = customer(&server.admin(Surface::HashInsight), "Acme").await;
    let (clerk, browser) = person(&server, "clerk", "user").await;
    let of_clerk = format!("/platform/v1/users/{clerk}/customer");
    let head = server.head().await;
    let refused = owner.put(&of_clerk, json!({ "customer_id": acme })).await.expect(400);
    assert_eq!(refused.at("/error"), "user.nobodys_person");
    for body in [json!({ "customer_id": 99 }), json!({ "customer_id": "1" }), json!({ "customer_id": 1.5 }), json!({})]
    {
        owner.put(&of_clerk, body).await.expect(422);
    }
    browser.get("/hosting/api/miners").await.expect(403);
    // Of another tenant's owner neither the user nor the customer is seen.
    let tenant = owner.post("/platform/v1/tenants", json!({ "name": "Far" })).await.expect(201);
    let body =
        json!({ "email": "far@example.com", "password": PASSWORD, "role": "owner", "tenant_id": tenant.at("/id") });
    owner.post("/platform/v1/users", body).await.expect(201);
    let body = json!({ "email": "far@example.com", "password": PASSWORD });
    let entered = server.anonymous().post("/api/auth/login", body).await.expect(200);
    let far = server.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap());
    far.put(&of_clerk, json!({ "customer_id": acme })).await.expect(422);
    far.put(&of_clerk, json!({ "customer_id": null })).await.expect(404);
    far.send(Method::PUT, &of_clerk, None).await.expect(422);
    assert_eq!(owner.get("/platform/v1/users?search=clerk").await.expect(200).at("/items/0/customer_id"), &Value::Null);
    assert!(head < server.head().await);
}
