//! What Owl Factory says of requests that it does not take, and what it takes although it looks odd.

use api::surface::Surface;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::TestServer;

use super::{refused_field, top_up};

const ALL_MISSING: &str = "此字段为必填项";

fn field_errors(answer: &Answer) -> &Value {
    answer.at("/details/field_errors")
}

#[tokio::test]
async fn the_documents_example_of_a_refusal_is_answered_to_the_letter() {
    let server = TestServer::start(Engine::Sqlite).await;
    let body = json!({ "email": "not", "username": "r1user", "password": "12345", "full_name": "x" });
    let refused = server.anonymous().post("/api/auth/register", body).await.expect(422);
    assert_eq!(
        (refused.at("/success"), refused.at("/message"), refused.at("/error_code"), refused.at("/details")),
        (
            &json!(false),
            &json!("请求参数验证失败"),
            &json!("VALIDATION_ERROR"),
            &json!({ "field_errors": { "email": ["邮箱格式不正确"], "password": ["密码长度至少6位"] } })
        )
    );
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (anonymous, admin) = (server.anonymous(), server.admin(Surface::Owl));
    let head = server.head().await;
    let body = json!({ "email": "x", "username": "a b", "password": "x".repeat(129), "full_name": "x".repeat(101) });
    let refused = anonymous.post("/api/auth/register", body).await.expect(422);
    assert_eq!(field_errors(&refused).as_object().unwrap().len(), 4, "{}", refused.text);
    assert_eq!(refused_field(&refused, "password"), "密码长度最多128位");
    let missing = anonymous.post("/api/auth/register", json!({})).await.expect(422);
    let expected = json!({ "email": [ALL_MISSING], "username": [ALL_MISSING], "password": [ALL_MISSING] });
    assert_eq!(field_errors(&missing), &expected);
    let missing = admin.post("/api/tasks", json!({ "title": "a" })).await.expect(422);
    assert_eq!(field_errors(&missing), &json!({ "task_type": [ALL_MISSING] }));
    let body = json!({ "max_concurrent_tasks_per_user": 0, "default_task_timeout": 0 });
    let refused = admin.put("/api/admin/config", body).await.expect(422);
    assert_eq!(field_errors(&refused).as_object().unwrap().len(), 2, "{}", refused.text);
    let task = json!({ "title": "", "task_type": "a b", "priority": 9, "estimated_duration": 0, "config": { "gpu_count": 99 } });
    let code = json!({ "amount": -1, "max_uses": 0, "batch_size": 0, "expires_at": "2001-01-01T00:00:00Z" });
    let gpu = json!({ "name": "", "host": "", "max_concurrent_tasks": 0 });
    for (path, body, fields) in
        [("/api/tasks", task, 5), ("/api/recharge/codes", code, 4), ("/api/gpu/servers", gpu, 3)]
    {
        let refused = admin.post(path, body).await.expect(422);
        assert_eq!(field_errors(&refused).as_object().unwrap().len(), fields, "{}", refused.text);
    }
    assert!(refused_field(&refused, "default_task_timeout").contains("604800"));
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn what_is_no_object_or_says_a_field_twice_is_refused_and_named() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (anonymous, admin) = (server.anonymous(), server.admin(Surface::Owl));
    let login = |body: &str| anonymous.send(Method::POST, "/api/auth/login", Some(body.to_owned()));
    let config = server.config();
    let credentials = json!([config.admin_email, config.admin_password]).to_string();
    for (body, message) in [
        (credentials.as_str(), "请求体必须是JSON对象"),
        ("[]", "请求体必须是JSON对象"),
        ("17", "请求体必须是JSON对象"),
        ("{\"email\":", "请求体不是有效的JSON"),
        ("nonsense", "请求体不是有效的JSON"),
        ("{\"email\":\"\\u0000\",\"password\":\"\"}", "文本不能包含NUL字符"),
    ] {
        let refused = login(body).await.expect(422);
        assert_eq!((refused.at("/message"), refused.at("/details")), (&json!(message), &json!({})), "{body}");
    }
    let twice = login("{\"email\":\"a@b.c\",\"email\":\"a@b.c\",\"password\":\"x\"}").await.expect(422);
    assert_eq!(field_errors(&twice), &json!({ "email": ["字段重复"] }));
    let path = format!("/api/admin/users/{}", tests::fresh_id());
    let unknown = admin.put(&path, json!({ "email": "x@y.z" })).await.expect(422);
    assert_eq!(field_errors(&unknown), &json!({ "email": ["未知字段"] }));
    for amount in ["5_0", "_5"] {
        let refused = admin.post("/api/recharge/codes", json!({ "amount": amount })).await.expect(422);
        assert_eq!(refused_field(&refused, "amount"), "必须是数字");
    }
}

#[tokio::test]
async fn numbers_out_of_all_ranges_are_told_the_range() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    let head = server.head().await;
    for (field, value) in [("priority", -1), ("priority", 600), ("estimated_duration", -5), ("priority", i64::MAX)] {
        let task = json!({ "title": "a", "task_type": "a", field: value });
        let refused = admin.post("/api/tasks", task).await.expect(422);
        assert!(refused_field(&refused, field).contains("之间"), "{}", refused.text);
    }
    for (field, value) in [("batch_size", -1_i64), ("batch_size", 1_000_000_000_000), ("max_uses", 1_000_000_000_000)] {
        let codes = json!({ "amount": 1, field: value });
        let refused = admin.post("/api/recharge/codes", codes).await.expect(422);
        assert!(refused_field(&refused, field).contains("之间"), "{}", refused.text);
    }
    let codes = json!({ "amount": 1, "expires_at": "+10000-01-01T00:00:00Z" });
    let refused = admin.post("/api/recharge/codes", codes).await.expect(422);
    assert_eq!(refused_field(&refused, "expires_at"), "时间超出范围");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn words_that_are_none_are_told_the_words() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    for (path, field, expected) in [
        ("/api/tasks?status=odd", "status", "必须是 pending、running、completed、failed、cancelled 或 timed_out"),
        ("/api/tasks?sort_by=cost", "sort_by", "必须是 created_at、updated_at 或 priority"),
        ("/api/tasks?sort_order=up", "sort_order", "必须是 asc 或 desc"),
        ("/api/recharge/codes?status=odd", "status", "必须是 active、used、expired 或 inactive"),
        ("/api/recharge/codes?as_of=soon", "as_of", "必须是日志位置或时间，例如 2026-01-31T12:00:00Z"),
        ("/api/admin/users?is_active=maybe", "is_active", "必须是 true 或 false"),
    ] {
        assert_eq!(refused_field(&admin.get(path).await.expect(422), field), expected, "{path}");
    }
}

#[tokio::test]
async fn the_wrong_key_of_a_tasks_config_is_named() {
    let server = TestServer::start(Engine::Sqlite).await;
    let user = server.user(Surface::Owl);
    top_up(&server.admin(Surface::Owl), &user, "100").await;
    for (config, expected) in [
        (json!({ "command": "rm" }), "command 必须是字符串列表"),
        (json!({ "command": ["a", 1] }), "command 必须是字符串列表"),
        (json!({ "command": [] }), "command 必须指明要运行的程序"),
        (json!({ "command": [""] }), "command 必须指明要运行的程序"),
        (json!({ "command": vec!["x"; 101] }), "command 最多100个词，且不能包含NUL字符"),
        (json!({ "image": 7 }), "image 必须是字符串"),
        (json!({ "gpu_count": null }), "gpu_count 必须是0到16之间的整数"),
        (json!({ "gpu_count": -1 }), "gpu_count 必须是0到16之间的整数"),
        (json!({ "gpu_count": 17 }), "gpu_count 必须是0到16之间的整数"),
        (json!({ "memory_gb": "much" }), "memory_gb 必须是0到10000之间的数字"),
        (json!({ "memory_gb": 10_001 }), "memory_gb 必须是0到10000之间的数字"),
        (json!({ "timeout_seconds": 1 }), "timeout_seconds 必须是5到604800之间的整数"),
        (json!({ "ttl_seconds": 10_000_000_000_i64 }), "ttl_seconds 必须是10到604800之间的整数"),
        (json!({ "ttl_seconds": 9 }), "ttl_seconds 必须是10到604800之间的整数"),
        (json!({ "x": "x".repeat(70_000) }), "任务配置最多64KB"),
        // The first that is wrong, in the order of their names.
        (json!({ "ttl_seconds": "x", "image": 7, "gpu_count": 1.5 }), "gpu_count 必须是0到16之间的整数"),
        (json!({ "command": [], "gpu_count": 17 }), "command 必须指明要运行的程序"),
        (json!({ "gpu_count": 17, "ttl_seconds": "x" }), "ttl_seconds 必须是10到604800之间的整数"),
    ] {
        let task = json!({ "title": "a", "task_type": "a", "config": config });
        let refused = user.post("/api/tasks", task).await.expect(422);
        assert_eq!(refused_field(&refused, "config"), expected);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_field_is_said() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    let long = format!("/api/logs/system?search={}", "x".repeat(201));
    for (path, field, expected) in [
        ("/api/tasks?page=x", "page", "必须是整数"),
        ("/api/tasks?page=-1", "page", "必须是整数"),
        ("/api/tasks?page=99999999999999999999", "page", "数值过大"),
        ("/api/tasks?page=1&page=2", "page", "字段重复"),
        (&long, "search", "最多200个字符"),
        ("/api/logs/system?search=--", "search", "搜索关键词必须包含字母、数字或汉字"),
    ] {
        assert_eq!(refused_field(&admin.get(path).await.expect(422), field), expected, "{path}");
    }
    let task = |field: &str, value: Value| {
        let mut task = json!({ "title": "a", "task_type": "a" });
        task[field] = value;
        ("/api/tasks", task, field.to_owned())
    };
    let codes = |field: &str, value: Value| {
        let mut codes = json!({ "amount": 1 });
        codes[field] = value;
        ("/api/recharge/codes", codes, field.to_owned())
    };
    for ((path, body, field), expected) in [
        (task("title", json!(7)), "字段类型不正确"),
        (task("title", json!(" ")), "标题长度必须在1到200之间，且不能包含控制字符"),
        (task("priority", json!(1.5)), "必须是整数"),
        (task("priority", json!("missing field")), "字段类型不正确"),
        (task("priority", json!("优先")), "字段类型不正确"),
        (task("config", json!([])), "字段类型不正确"),
        (codes("amount", json!([])), "必须是数字"),
        (codes("amount", json!("9".repeat(40))), "必须是数字"),
        (codes("batch_size", json!(0)), "必须在1到1000之间"),
        (codes("description", json!("x".repeat(501))), "描述最多500个字符，且不能包含控制字符"),
        (codes("expires_at", json!("soon")), "时间格式不正确"),
        (codes("expires_at", json!("2026-01")), "时间格式不正确"),
        (codes("expires_at", json!("2026-13-01T00:00:00Z")), "时间超出范围"),
    ] {
        assert_eq!(refused_field(&admin.post(path, body.clone()).await.expect(422), &field), expected, "{body}");
    }
    let no_port = json!({ "name": "a", "host": "127.0.0.1", "port": 70_000 });
    let refused = admin.post("/api/gpu/servers", no_port).await.expect(422);
    assert_eq!(refused_field(&refused, "port"), "数值超出范围");
    let nested = format!("{{\"title\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let refused = admin.send(Method::POST, "/api/tasks", Some(nested)).await.expect(422);
    assert_eq!((refused.at("/message"), field_errors(&refused)), (&json!("请求体最多嵌套64层"), &Value::Null));
}

#[tokio::test]
async fn null_is_as_good_as_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    let codes = json!({ "amount": 100, "description": null, "batch_size": null, "expires_at": null, "max_uses": null });
    let codes = admin.post("/api/recharge/codes", codes).await.expect(200);
    assert_eq!(codes.at("/data/total_generated"), 1);
    admin.post("/api/recharge/redeem", json!({ "code": codes.at("/data/codes/0/code") })).await.expect(200);
    let task = json!({ "title": "a", "task_type": "a", "description": null, "priority": null,
        "estimated_duration": null, "config": null });
    let made = admin.post("/api/tasks", task).await.expect(200);
    let shown = admin.get(&format!("/api/tasks/{}", made.at("/data/id").as_str().unwrap())).await.expect(200);
    assert_eq!((shown.at("/data/priority"), shown.at("/data/config")), (&json!(1), &json!({})));
    let nothing = json!({ "max_concurrent_tasks_per_user": null, "default_task_timeout": null });
    admin.put("/api/admin/config", nothing).await.expect(200);
}

#[tokio::test]
async fn a_filter_without_a_value_is_not_set() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::Owl);
    for path in [
        "/api/tasks?page=&page_size=&status=&task_type=&sort_by=&sort_order=&as_of=",
        "/api/recharge/codes?status=&page=&as_of=",
        "/api/recharge/records?page=",
        "/api/recharge/ledger?page_size=",
        "/api/admin/users?page=&role=&is_active=&search=",
        "/api/logs/system?level=&start_date=&end_date=&search=&page=",
        "/api/logs/user-actions?user_id=&search",
    ] {
        admin.get(path).await.expect(200);
    }
    for (word, total) in [("True", 1), ("TRUE", 1), ("true", 1), ("False", 0), ("false", 0), ("", 1)] {
        let listed = admin.get(&format!("/api/admin/users?is_active={word}")).await.expect(200);
        assert_eq!(listed.at("/total"), total, "{word}");
    }
}

#[tokio::test]
async fn the_limit_of_tasks_is_said() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    top_up(&admin, &user, "100").await;
    admin.put("/api/admin/config", json!({ "max_concurrent_tasks_per_user": 2 })).await.expect(200);
    let submit = || user.post("/api/tasks", json!({ "title": "a", "task_type": "a" }));
    submit().await.expect(200);
    submit().await.expect(200);
    let refused = submit().await.expect(429);
    assert_eq!(
        (refused.at("/error_code"), refused.at("/message")),
        (&json!("TASK_LIMIT_EXCEEDED"), &json!("任务数量超限：最多同时有2个等待或运行中的任务"))
    );
}
