//! Settings that cannot be used stop the start with a plain sentence that names them.

use tempfile::TempDir;
use tests::program::Installation;

/// What `corelog config` says to these variables, and where it exits with 1.
fn said(variables: &[(&str, &str)]) -> String {
    let data = TempDir::new().unwrap();
    let installation = Installation { data_dir: data.path().to_owned(), database_url: None };
    let output = installation.command().arg("config").envs(variables.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{variables:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_wrong_setting_is_named_in_a_sentence() {
    let wrong = [
        ("DATA_DIR", "", "the setting data_dir (CORELOG_DATA_DIR) must name a directory"),
        ("LIVE__CONNECTIONS_MAX", "0", "the setting live.connections_max (CORELOG_LIVE__CONNECTIONS_MAX) must be"),
        ("LIVE__HEARTBEAT_MS", "0", "the setting live.heartbeat_ms (CORELOG_LIVE__HEARTBEAT_MS) must be"),
        ("ALERTS__CHECK_EVERY_MS", "0", "the setting alerts.check_every_ms (CORELOG_ALERTS__CHECK_EVERY_MS) must be"),
        ("MAIL__FROM", "foo", "the setting mail.from (CORELOG_MAIL__FROM) must be an e-mail address"),
        ("MAIL__SMTP_URL", "foo", "the setting mail.smtp_url (CORELOG_MAIL__SMTP_URL) must be like smtp://"),
        ("MINERS__TRIES_MAX", "0", "the setting miners.tries_max (CORELOG_MINERS__TRIES_MAX) must be between"),
        ("RATE_LIMITS", "maybe", "the setting rate_limits (CORELOG_RATE_LIMITS) is maybe, but must be on or off"),
        ("LISTEN", "here", "the setting listen (CORELOG_LISTEN) cannot be used: invalid socket address syntax"),
        ("MINERS__TRIES_MAX", "x", "the setting miners.tries_max (CORELOG_MINERS__TRIES_MAX) is \"x\", but must be"),
        ("MINERS__TRIES", "3", "there is no setting miners.tries (CORELOG_MINERS__TRIES); there are: username, "),
    ];
    for (name, value, sentence) in wrong {
        let text = said(&[(&format!("CORELOG_{name}"), value)]);
        assert!(text.contains(sentence) && !text.contains('`'), "{name}: {text}");
    }
}

#[test]
fn a_wrong_line_of_the_file_is_named_too() {
    let data = TempDir::new().unwrap();
    std::fs::write(data.path().join("corelog.toml"), "mode = \"prod\"\n").unwrap();
    let installation = Installation { data_dir: data.path().to_owned(), database_url: None };
    let (status, text) = installation.run(&["config"]);
    let sentence = "the setting mode (in corelog.toml) is prod, but must be development or production";
    assert!(!status.success() && text.contains(sentence), "{text}");
    std::fs::write(data.path().join("corelog.toml"), "mode =\n").unwrap();
    let (status, text) = installation.run(&["config"]);
    assert!(!status.success() && text.contains("the settings in corelog.toml cannot be used: "), "{text}");
}
