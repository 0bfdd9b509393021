//! The descriptions of the APIs and the page to browse them: for developers, without anything from elsewhere.

use api::config::{Config, Mode};
use api::surface::Surface;
use tests::server::{TestServer, settings};

#[tokio::test]
async fn every_api_is_described_and_browsed_offline() {
    let server = TestServer::start_with(settings()).await;
    let anybody = server.anonymous();
    for surface in Surface::ALL {
        let described = anybody.get(&format!("/platform/docs/{}.json", surface.name())).await.expect(200);
        assert_eq!(described.at("/info/version"), env!("CARGO_PKG_VERSION"));
        assert!(!described.at("/paths").as_object().unwrap().is_empty(), "{}", surface.name());
    }
    let page = anybody.get("/platform/docs/").await.expect(200).text;
    let mut loaded = 0;
    for reference in page
        .split(['"', '\''])
        .filter(|word| [Some("js"), Some("css")].contains(&word.rsplit_once('.').map(|ends| ends.1)))
    {
        assert!(!reference.contains("//"), "{reference} comes from elsewhere");
        anybody.get(&format!("/platform/docs/{}", reference.trim_start_matches("./"))).await.expect(200);
        loaded += 1;
    }
    assert!(loaded >= 3, "the page loads {loaded} files");
    let bitrun = anybody.get("/api/v1/openapi.json").await.expect(200);
    assert!(bitrun.at("/paths").get("/api/v1/quant-strategies").is_some());
    for page in ["/api/v1/docs", "/api/v1/redoc"] {
        assert!(anybody.get(page).await.expect(307).header("location").starts_with("/platform/docs/"));
    }
}

#[tokio::test]
async fn in_production_nothing_is_described() {
    let server = TestServer::start_with(Config { mode: Mode::Production, ..settings() }).await;
    for path in [
        "/platform/docs",
        "/platform/docs/",
        "/platform/docs/owl.json",
        "/platform/docs/swagger-ui-bundle.js",
        "/api/v1/openapi.json",
        "/api/v1/docs",
        "/api/v1/redoc",
    ] {
        server.anonymous().get(path).await.expect(404);
    }
}
