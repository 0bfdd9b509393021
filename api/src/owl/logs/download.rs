//! A day of log lines as a file: read and sent piece by piece, however long it is.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{NaiveDate, SecondsFormat};
use commands::gateways::log_lines::{Line, LineFilter, Source};
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions_are_followed;
use super::query::{day, end, level, no_date, start};
use crate::app::{App, Server};
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Query;

/// Lines of one piece.
const PIECE_LINES: u64 = 2_000;
/// Spreadsheets take the text for UTF-8 only when it begins with the mark of it.
const CSV_HEAD: &str = "\u{feff}id,timestamp,level,message,user_id,task_id,request_id,fields\r\n";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(download_lines))
}

#[derive(Deserialize)]
struct DownloadQuery {
    log_type: String,
    date: String,
    level: Option<String>,
    format: Option<String>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    /// One JSON object a line.
    Ndjson,
}

#[utoipa::path(get, path = "/api/logs/download", operation_id = "download_lines",
    params(("log_type" = String, Query, description = "system, user-actions or tasks"),
        ("date" = String, Query, description = "A day (UTC)"), ("level" = Option<String>, Query),
        ("format" = Option<String>, Query, description = "csv, the default, or ndjson")),
    responses((status = 200, content_type = "text/csv", body = String)))]
async fn download_lines(
    State(app): State<App>,
    Admin(caller): Admin,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, ApiError> {
    let source = source(&query.log_type)?;
    let day = day(&query.date).ok_or_else(|| no_date("date"))?;
    let format = format(query.format.as_deref())?;
    let filter = LineFilter {
        level: level(query.level.as_deref())?,
        from: Some(start(day)),
        before: Some(end(day)),
        ..LineFilter::all(caller.user.tenant, source)
    };
    if source == Source::Action && !actions_are_followed(&app).await? {
        return Err(ApiError::unavailable(&"a file of actions that are not all followed yet"));
    }
    // The first piece is read before the answer begins, so that a fault still is an answer.
    let first = piece(&app, &filter, format, 0).await?;
    Ok(file(app, filter, format, first, &name(&query.log_type, day, format)))
}

fn source(word: &str) -> Result<Source, ApiError> {
    match word {
        "system" => Ok(Source::System),
        "user-actions" | "user_actions" => Ok(Source::Action),
        "tasks" | "task" => Ok(Source::Task),
        _ => Err(ApiError::field("log_type", "必须是 system、user-actions 或 tasks")),
    }
}

fn format(word: Option<&str>) -> Result<Format, ApiError> {
    match word {
        None | Some("csv") => Ok(Format::Csv),
        Some("ndjson" | "json" | "jsonl") => Ok(Format::Ndjson),
        Some(_) => Err(ApiError::field("format", "必须是 csv 或 ndjson")),
    }
}

/// Nothing of what the client sent stands in it but a word of ours and a day.
fn name(log_type: &str, day: NaiveDate, format: Format) -> String {
    let ending = match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
    };
    format!("{}-{day}.{ending}", log_type.replace('_', "-"))
}

/// Some lines as text, and where to go on; nowhere at the end.
type Piece = (String, Option<i64>);

async fn piece(server: &Server, filter: &LineFilter, format: Format, after: i64) -> Result<Piece, ApiError> {
    let lines = server.log_lines.after(filter, after, PIECE_LINES).await?;
    let next = (lines.len() as u64 == PIECE_LINES).then(|| lines.last().map(|line| line.id)).flatten();
    let mut text = String::new();
    for line in &lines {
        match format {
            Format::Csv => write_csv(&mut text, line),
            Format::Ndjson => write_json(&mut text, line),
        }
    }
    Ok((text, next))
}

fn file(app: App, filter: LineFilter, format: Format, (text, next): Piece, name: &str) -> Response {
    let (head, content_type) = match format {
        Format::Csv => (CSV_HEAD, "text/csv; charset=utf-8"),
        Format::Ndjson => ("", "application/x-ndjson; charset=utf-8"),
    };
    let rest = stream::try_unfold(next, move |next| {
        let (app, filter) = (App::clone(&app), filter.clone());
        async move {
            let Some(after) = next else { return Ok(None) };
            // The status is sent: all that can be done about a fault is to break off, which clients notice.
            let piece = piece(&app, &filter, format, after).await.map_err(|error| std::io::Error::other(error.message));
            piece.map(|(text, next)| Some((Bytes::from(text), next)))
        }
    });
    let begin = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(format!("{head}{text}"))) });
    let body = Body::from_stream(futures::StreamExt::chain(begin, rest));
    let mut response = ([(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

fn write_json(text: &mut String, Line { id, line }: &Line) {
    let shown = json!({
        "id": id,
        "timestamp": line.at,
        "level": line.level.name(),
        "message": line.message,
        "user_id": line.user,
        "task_id": line.task,
        "request_id": line.request_id,
        "fields": line.fields,
    });
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{shown}");
}

fn write_csv(text: &mut String, Line { id, line }: &Line) {
    let optional = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    let fields = if line.fields.is_empty() { String::new() } else { serde_json::json!(line.fields).to_string() };
    let cells = [
        id.to_string(),
        line.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        line.level.name().to_owned(),
        line.message.clone(),
        optional(line.user.map(|user| user.0)),
        optional(line.task),
        optional(line.request_id),
        fields,
    ];
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// A cell of CSV. What a spreadsheet would take for a formula begins with an apostrophe.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas_and_stay_one_cell() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(cell("-2,\"x\""), "\"'-2,\"\"x\"\"\"");
        assert_eq!(cell("two\nlines"), "\"two\nlines\"");
        assert_eq!(cell("plain"), "plain");
    }

    #[test]
    fn names_of_files_are_ours() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 15).unwrap();
        assert_eq!(name("user_actions", day, Format::Csv), "user-actions-2024-01-15.csv");
        assert!(source("../etc").is_err() && source("system\r\n").is_err());
        assert!(format(Some("xlsx")).is_err());
    }
}
