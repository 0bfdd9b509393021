//! Bad input on every route there is: a clear refusal in the product's own form, never a fault of the server, and
//! nothing appended.

use api::surface::Surface;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use crate::operations::{Operation, has_its_form, operations};

const TOO_LARGE: usize = 1024 * 1024 + 1;

/// Sends requests, and collects what was wrong with their answers.
struct Attacker {
    server: TestServer,
    findings: Vec<String>,
    sent: usize,
}

impl Attacker {
    async fn new() -> Self {
        Self::on(Engine::Sqlite).await
    }

    async fn on(engine: Engine) -> Self {
        Self { server: TestServer::start(engine).await, findings: Vec::new(), sent: 0 }
    }

    fn admin(&self, operation: &Operation) -> Client {
        self.server.admin(operation.surface)
    }

    /// Any answer but a fault will do; a refusal has the form of its product and leaves the log as it was.
    async fn send(&mut self, operation: &Operation, path: &str, body: Option<String>) -> Answer {
        let shown = body.as_deref().unwrap_or_default().chars().take(80).collect::<String>();
        let head = self.server.head().await;
        let answer = self.admin(operation).send(operation.method.clone(), path, body).await;
        self.sent += 1;
        let what = format!("{} {path} {shown}: {} {}", operation.method, answer.status, cut(&answer.text));
        let is_refusal = (400..500).contains(&answer.status);
        if answer.status >= 500 {
            self.findings.push(format!("a fault: {what}"));
        } else if is_refusal && !has_its_form(operation.surface, &answer) {
            self.findings.push(format!("not the form of {}: {what}", operation.surface.name()));
        } else if is_refusal && self.server.head().await != head {
            self.findings.push(format!("refused and appended: {what}"));
        }
        answer
    }

    /// The same, for input that cannot be taken for anything.
    async fn send_hopeless(&mut self, operation: &Operation, path: &str, body: String) {
        let (head, shown) = (self.server.head().await, body.chars().take(40).collect::<String>());
        let answer = self.send(operation, path, Some(body)).await;
        if answer.status < 400 || self.server.head().await != head {
            self.findings.push(format!("taken: {} {path} {shown}: {}", operation.method, answer.status));
        }
    }

    fn done(self) {
        assert!(self.sent > 100, "only {} requests were sent", self.sent);
        assert!(self.findings.is_empty(), "{}\n{}", self.findings.len(), self.findings.join("\n"));
    }
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// An id of every sort that names nothing.
fn unknown_ids() -> [String; 5] {
    [
        "987654321".to_owned(),
        tests::fresh_id().to_string(),
        "99999999999999999999999999".to_owned(),
        "%00%F0%9F%A7%A8".to_owned(),
        "x".repeat(2_000),
    ]
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let mut attacker = Attacker::new().await;
    for operation in operations().iter().filter(|operation| operation.fields.is_some()) {
        for body in ["{", "[1,2", "nonsense", "\u{0}", "{\"a\":1}}", "\"text\"", "[]", "17"] {
            attacker.send_hopeless(operation, &operation.at("1"), body.to_owned()).await;
        }
        let large = format!("{{\"padding\":\"{}\"}}", "x".repeat(TOO_LARGE));
        attacker.send_hopeless(operation, &operation.at("1"), large).await;
    }
    attacker.done();
}

/// `levels` arrays, one in the other.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// What is nested deeper than a parser follows could be appended, wrapped in its event, and never be read again.
#[tokio::test]
async fn bodies_that_are_nested_deeply_are_refused() {
    let mut attacker = Attacker::new().await;
    for operation in operations().iter().filter(|operation| operation.fields.is_some()) {
        for field in ["padding", "config", "metadata"] {
            let body = format!("{{\"{field}\":{}}}", nested(124));
            attacker.send_hopeless(operation, &operation.at("1"), body).await;
        }
    }
    attacker.done();
}

/// Each product has one route whose events hold what JSON somebody likes.
#[tokio::test]
async fn what_is_nested_as_deeply_as_allowed_can_be_read_again() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (owl, zinnia) = (server.admin(Surface::Owl), server.user(Surface::Zinnia));
    let codes = owl.post("/api/recharge/codes", json!({ "amount": 100 })).await.expect(200);
    owl.post("/api/recharge/redeem", json!({ "code": codes.at("/data/codes/0/code") })).await.expect(200);
    let task = |levels| format!("{{\"title\":\"a\",\"task_type\":\"a\",\"config\":{{\"a\":{}}}}}", nested(levels));
    let device = |levels| format!("{{\"name\":\"a\",\"device_type\":\"a\",\"metadata\":{{\"a\":{}}}}}", nested(levels));
    let head = server.head().await;
    for levels in [63, 122, 123, 124, 200] {
        owl.send(Method::POST, "/api/tasks", Some(task(levels))).await.expect(422);
        zinnia.send(Method::POST, "/api/v1/devices", Some(device(levels))).await.expect(400);
    }
    assert_eq!(server.head().await, head, "nothing was appended");
    owl.send(Method::POST, "/api/tasks", Some(task(60))).await.expect(200);
    zinnia.send(Method::POST, "/api/v1/devices", Some(device(60))).await.expect(201);
    assert_eq!(owl.get("/api/tasks").await.expect(200).at("/total"), 1);
    assert_eq!(zinnia.get("/api/v1/devices").await.expect(200).at("/data/pagination/total_items"), 1);
    assert_eq!(server.anonymous().get("/health").await.expect(200).at("/components/projections"), "ok");
}

#[tokio::test]
async fn fields_of_the_wrong_type_or_size_are_refused_hashinsight() {
    fields_of_the_wrong_type_or_size_are_refused(Surface::HashInsight).await;
}
#[tokio::test]
async fn fields_of_the_wrong_type_or_size_are_refused_zinnia() {
    fields_of_the_wrong_type_or_size_are_refused(Surface::Zinnia).await;
}
#[tokio::test]
async fn fields_of_the_wrong_type_or_size_are_refused_bitrun() {
    fields_of_the_wrong_type_or_size_are_refused(Surface::Bitrun).await;
}
#[tokio::test]
async fn fields_of_the_wrong_type_or_size_are_refused_owl() {
    fields_of_the_wrong_type_or_size_are_refused(Surface::Owl).await;
}
#[tokio::test]
async fn fields_of_the_wrong_type_or_size_are_refused_platform() {
    fields_of_the_wrong_type_or_size_are_refused(Surface::Platform).await;
}
async fn fields_of_the_wrong_type_or_size_are_refused(surface: Surface) {
    let mut attacker = Attacker::new().await;
    let operations = operations();
    for operation in operations.iter().filter(|operation| operation.surface == surface) {
        let Some(fields) = &operation.fields else { continue };
        let path = operation.at("1");
        for (n, value) in wrong_values().iter().enumerate() {
            let whole = fields.iter().map(|field| (field.clone(), value.clone())).collect::<serde_json::Map<_, _>>();
            attacker.send(operation, &path, Some(Value::from(whole).to_string())).await;
            // Not every value for every field: other fields of the same sort get the others.
            for field in fields.iter().skip(n % 3).step_by(3) {
                attacker.send(operation, &path, Some(json!({ field: value }).to_string())).await;
            }
        }
        attacker.send(operation, &path, Some("{}".to_owned())).await;
        attacker.send(operation, &path, None).await;
    }
    attacker.done();
}

fn wrong_values() -> [Value; 13] {
    [
        json!(null),
        json!({}),
        json!([[]]),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}\u{202e}"),
        json!("x".repeat(20_000)),
        json!(["x".repeat(300), -5, {}]),
    ]
}

#[tokio::test]
async fn unknown_ids_are_not_found_or_refused_sqlite() {
    unknown_ids_are_not_found_or_refused(Engine::Sqlite).await;
}
#[tokio::test]
async fn unknown_ids_are_not_found_or_refused_postgres() {
    unknown_ids_are_not_found_or_refused(Engine::Postgres).await;
}
async fn unknown_ids_are_not_found_or_refused(engine: Engine) {
    let mut attacker = Attacker::on(engine).await;
    for operation in operations().iter().filter(|operation| operation.is_of_paths_with_ids()) {
        for id in unknown_ids() {
            attacker.send(operation, &operation.at(&id), None).await;
            if operation.fields.is_some() {
                attacker.send(operation, &operation.at(&id), Some("{}".to_owned())).await;
            }
        }
    }
    attacker.done();
}

#[tokio::test]
async fn queries_out_of_all_bounds_are_refused_or_bounded() {
    let mut attacker = Attacker::new().await;
    for operation in operations().iter().filter(|operation| operation.method == Method::GET) {
        for value in ["-1", "0", "99999999999999999999999999", "1e400", "%00", "%FF", "'%20OR%201=1--", "9999-99-99"] {
            for name in &operation.query {
                attacker.send(operation, &format!("{}?{name}={value}", operation.at("1")), None).await;
            }
        }
        attacker.send(operation, &format!("{}?%%%&&=&x", operation.at("1")), None).await;
    }
    attacker.done();
}

#[tokio::test]
async fn headers_that_mean_nothing_are_refused() {
    let mut attacker = Attacker::new().await;
    let long = "k".repeat(300);
    let headers = [
        ("Idempotency-Key", long.as_str()),
        ("Idempotency-Key", ""),
        ("If-Match", "nonsense"),
        ("Corelog-Min-Position", "-1"),
        ("Corelog-Min-Position", "99999999999999999999999"),
    ];
    for operation in operations().iter().filter(|operation| operation.method != Method::GET) {
        for (name, value) in headers {
            let head = attacker.server.head().await;
            let client = attacker.admin(operation).with(name, value);
            let answer = client.send(operation.method.clone(), &operation.at("1"), None).await;
            attacker.sent += 1;
            let refused = (400..500).contains(&answer.status) && has_its_form(operation.surface, &answer);
            if !refused || attacker.server.head().await != head {
                let path = &operation.path;
                attacker.findings.push(format!("{} {path} {name}: {value}: {}", operation.method, answer.status));
            }
        }
    }
    attacker.done();
}

#[tokio::test]
async fn a_nul_in_a_form_is_refused_sqlite() {
    a_nul_in_a_form_is_refused(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_nul_in_a_form_is_refused_postgres() {
    a_nul_in_a_form_is_refused(Engine::Postgres).await;
}
async fn a_nul_in_a_form_is_refused(engine: Engine) {
    let server = TestServer::start(engine).await;
    let head = server.head().await;
    let forms: [(&str, &[&str]); 3] = [
        ("/register", &["name", "email", "password", "username"]),
        ("/login", &["email", "password"]),
        ("/api/v1/auth/login", &["username", "password"]),
    ];
    for (path, fields) in forms {
        for bad in fields {
            let value = |field: &str| if field == "email" { "a@example.com" } else { "Correct-horse-7" };
            let form: Vec<_> = fields.iter().map(|field| (*field, value(field))).collect();
            let form = form
                .iter()
                .map(|(field, value)| (*field, if field == bad { format!("{value}\0") } else { (*value).to_owned() }));
            let form: Vec<(&str, String)> = form.collect();
            let form: Vec<(&str, &str)> = form.iter().map(|(field, value)| (*field, value.as_str())).collect();
            let answer = server.anonymous().post_form(path, &form).await;
            assert!((400..500).contains(&answer.status), "{path} {bad}: {} {}", answer.status, answer.text);
        }
    }
    assert_eq!(server.head().await, head);
}
