//! Lists as they were: the same queries on the same fold, up to a past position.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use domain::log::Log;
use replay::{Moment, NoMoment};
use sea_orm::DatabaseConnection;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::app::App;
use crate::error::{ApiError, Place};
use crate::extract::Query;
use crate::request::RequestContext;

/// Past lists kept for the next page.
const KEPT_MAX: usize = 4;

#[derive(Deserialize)]
struct AsOfQuery {
    as_of: Option<String>,
}

/// Where a list is read: the live tables, or with `?as_of=` those of a past moment.
pub struct Lists {
    app: App,
    moment: Option<Moment>,
}

impl Lists {
    /// The database in which the tables of `projections` answer for the moment that is asked for.
    ///
    /// # Errors
    /// When the log or the read models do not answer.
    pub async fn of(&self, projections: &'static [&'static str]) -> Result<DatabaseConnection, ApiError> {
        match self.moment {
            None => Ok(self.app.models.read().await.clone()),
            Some(moment) => {
                let position = moment.position(self.app.log().as_ref()).await?;
                self.app.past.at(self.app.log(), projections, position).await
            }
        }
    }

    /// Whether they are not of a past moment.
    pub fn are_of_now(&self) -> bool {
        self.moment.is_none()
    }

    /// The time that lists are judged by: now, or the past moment when it is given as a time.
    pub fn now(&self) -> DateTime<Utc> {
        match self.moment {
            Some(Moment::Time(time)) => time,
            Some(Moment::Position(_)) | None => self.app.clock().now(),
        }
    }
}

impl FromRequestParts<App> for Lists {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(AsOfQuery { as_of }) = Query::from_request_parts(parts, app).await?;
        let moment = as_of.map(|text| text.parse()).transpose();
        let moment = moment.map_err(|fault: NoMoment| ApiError::field("as_of", fault).of(Place::Query))?;
        parts.extensions.get::<RequestContext>().inspect(|request| request.looks_back());
        Ok(Self { app: Arc::clone(app), moment })
    }
}

type Kept = (&'static [&'static str], u64, DatabaseConnection);

/// Tables of past moments, built when they are asked for.
#[derive(Default)]
pub struct PastLists(Mutex<VecDeque<Kept>>);

impl PastLists {
    /// One build at a time: it is work, and the next page most likely wants the same.
    async fn at(
        &self,
        log: &Arc<dyn Log>,
        names: &'static [&'static str],
        position: u64,
    ) -> Result<DatabaseConnection, ApiError> {
        let mut kept = self.0.lock().await;
        if let Some((_, _, db)) = kept.iter().find(|(of, at, _)| *of == names && *at == position) {
            return Ok(db.clone());
        }
        let projectors =
            projections::catalogue().into_iter().filter(|projector| names.contains(&projector.name())).collect();
        let db = projections::scratch::build(log, projectors, position, |_| ()).await?;
        kept.truncate(KEPT_MAX - 1);
        kept.push_front((names, position, db.clone()));
        Ok(db)
    }
}
