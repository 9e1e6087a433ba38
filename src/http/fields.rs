//! The body of a POST: a small JSON object or a form, whichever it is.

use crate::config::durations::duration;
use axum::Form;
use axum::body::Body;
use axum::extract::{FromRequest, Query};
use axum::http::{Request, Uri, header};
use serde_json::{Map, Value};
use std::time::Duration;

use super::error::ApiError;

/// The fields of a body; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads `body`, which is JSON when it begins like an object: `curl -d` calls everything a form.
    pub(super) async fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = body.trim_ascii();
        if body.is_empty() {
            return Ok(Self::default());
        }
        if body.starts_with(b"{") {
            let map = serde_json::from_slice(body)
                .map_err(|error| ApiError::invalid(format!("the body is not a JSON object: {error}")))?;
            return Ok(Self(map));
        }
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body.to_vec()))
            .map_err(|error| ApiError::internal(&error, "read the body"))?;
        let pairs = Form::<Vec<(String, String)>>::from_request(request, &()).await;
        let Form(pairs) =
            pairs.map_err(|_| ApiError::invalid("the body is neither a JSON object nor a form"))?;
        Ok(Self(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()))
    }

    /// Adds what the query of the address says, where the body does not say it. What proves who asks is never taken from
    /// there: addresses end up in logs and histories.
    pub(super) fn add_query(&mut self, query: &str) -> Result<(), ApiError> {
        let uri: Uri = format!("/?{query}")
            .parse()
            .map_err(|_| ApiError::invalid(format!("the query \"{query}\" cannot be read")))?;
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&uri)
            .map_err(|_| ApiError::invalid(format!("the query \"{query}\" cannot be read")))?;
        for (name, value) in pairs.0 {
            if !COMMON.contains(&name.as_str()) {
                self.0.entry(name).or_insert(Value::String(value));
            }
        }
        Ok(())
    }

    /// Whether a field has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
    }

    /// Whether a field says yes; it does when it stands there without a value, as in `?rolling`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => yes_or_no(value)
                .ok_or_else(|| ApiError::invalid(format!("\"{name}\" is true or false, not {value}"))),
        }
    }

    /// A field that says yes, no, or for how long.
    pub(super) fn flag_or_duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match yes_or_no(value) {
                Some(yes) => Ok(yes.then_some(Duration::ZERO)),
                None => self.duration(name),
            },
        }
    }

    /// The text of a field.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Refuses a field that is neither one of `known` nor one that every form may have.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        let stray =
            self.0.keys().find(|name| !known.contains(&name.as_str()) && !COMMON.contains(&name.as_str()));
        match stray {
            None => Ok(()),
            Some(name) if known.is_empty() => {
                Err(ApiError::invalid(format!("there is no field \"{name}\" here; this request has none")))
            }
            Some(name) => Err(ApiError::invalid(format!(
                "there is no field \"{name}\" here; there is {}",
                known.join(", ")
            ))),
        }
    }

    /// A number of processes: a JSON number, or digits.
    pub(super) fn count(&self, name: &str) -> Result<u32, ApiError> {
        let value = self.0.get(name).filter(|value| !value.is_null());
        let Some(value) = value else {
            return Err(ApiError::invalid(format!(
                "\"{name}\" is missing: say how many, as in {{\"{name}\": 5}}"
            )));
        };
        let number = match value.as_str() {
            Some(digits) => digits.trim().parse().ok(),
            None => value.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        number.ok_or_else(|| ApiError::invalid(format!("\"{name}\" is a whole number from 0, not {value}")))
    }

    /// A duration such as `30m`, where there is one.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        let value = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let text = value.as_str().map(str::trim);
        if text == Some("") {
            return Ok(None);
        }
        let wrong =
            || ApiError::invalid(format!("\"{name}\" is a time such as 90s, 30m or 1h 30m, not {value}"));
        let parsed = text.and_then(|text| duration(text).ok());
        parsed.filter(|duration| !duration.is_zero()).map(Some).ok_or_else(wrong)
    }
}

fn yes_or_no(value: &Value) -> Option<bool> {
    match (value, value.as_str().map(str::trim)) {
        (Value::Bool(yes), _) => Some(*yes),
        (_, Some("" | "true" | "yes" | "on" | "1")) => Some(true),
        (_, Some("false" | "no" | "off" | "0")) => Some(false),
        (_, _) => None,
    }
}

/// What the page's forms carry beside their own fields.
const COMMON: [&str; 2] = ["token", "from"];

#[cfg(test)]
mod tests {
    use super::*;

    async fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).await.unwrap()
    }

    #[tokio::test]
    async fn json_and_form_say_the_same() {
        for body in [
            r#"{"processes": 5, "for": "30m"}"#,
            r#" {"processes": "5", "for": "1800s"} "#,
            "processes=5&for=30m",
        ] {
            let fields = fields(body).await;
            assert_eq!(fields.count("processes").unwrap(), 5, "{body}");
            assert_eq!(fields.duration("for").unwrap(), Some(Duration::from_secs(1800)), "{body}");
        }
    }

    #[tokio::test]
    async fn a_flag_is_said_in_json_in_a_form_and_in_the_address() {
        for body in [r#"{"rolling": true}"#, "rolling=true", "rolling=1", "rolling"] {
            assert!(fields(body).await.flag("rolling").unwrap(), "{body}");
        }
        for body in ["", r#"{"rolling": false}"#, "rolling=0", r#"{"rolling": null}"#] {
            assert!(!fields(body).await.flag("rolling").unwrap(), "{body}");
        }
        assert!(fields("rolling=perhaps").await.flag("rolling").is_err());
        let mut asked = fields(r#"{"batch": 2}"#).await;
        asked.add_query("rolling&batch=3&token=x&canary=30s").unwrap();
        assert!(asked.flag("rolling").unwrap());
        assert_eq!(asked.count("batch").unwrap(), 2, "the body counts more");
        assert_eq!(asked.flag_or_duration("canary").unwrap(), Some(Duration::from_secs(30)));
        assert_eq!(asked.text("token"), None, "a token does not belong into an address");
    }

    #[tokio::test]
    async fn what_is_left_empty_is_absent() {
        for body in ["", "for=", r#"{"for": null}"#, "{}"] {
            assert_eq!(fields(body).await.duration("for").unwrap(), None, "{body}");
        }
    }

    #[tokio::test]
    async fn a_number_that_cannot_be_meant_is_refused() {
        for body in [
            "processes=-1",
            "processes=x",
            "processes=",
            r#"{"processes": 1.5}"#,
            r#"{"processes": 4294967296}"#,
            "",
        ] {
            let refused = fields(body).await.count("processes").unwrap_err();
            assert!(refused.message.contains("processes"), "{body}: {}", refused.message);
        }
    }

    #[tokio::test]
    async fn a_time_that_cannot_be_meant_is_refused() {
        for body in ["for=30", "for=soon", "for=-5m", "for=0s", r#"{"for": 30}"#] {
            assert!(fields(body).await.duration("for").is_err(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_misspelt_field_is_refused_and_the_right_ones_named() {
        let refused = fields("proceses=5").await.only(&["processes", "for"]).unwrap_err();
        assert_eq!(refused.message, "there is no field \"proceses\" here; there is processes, for");
        assert!(fields("token=x&from=page").await.only(&[]).is_ok());
    }

    #[tokio::test]
    async fn a_body_that_is_neither_json_nor_form_is_refused() {
        assert!(Fields::parse(b"{\"processes\": ").await.is_err());
        assert!(Fields::parse(b"{]").await.is_err());
    }
}
