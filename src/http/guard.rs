//! What stands before every handler: who may ask, and how much.
//!
//! A browser that visits another web site can be made to send requests here, with everything that it knows. So over TCP
//! a request must name a host of ours, and one that may change something must carry the change token as soon as it shows any
//! sign of a browser. Scripts show none and need no token. The Unix socket is guarded by its mode.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::context::{Context, Door};
use super::error::ApiError;
use super::fields::Fields;
use super::host::Hosts;
use crate::controller::handle::Origin;

const TOKEN: HeaderName = HeaderName::from_static("x-leveret-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What a request that may change something brings along.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Its body.
    pub(super) fields: Fields,
    /// Who asks.
    pub(super) origin: Origin,
    /// Whether it proved to know the change token, or came by a door that needs none.
    pub(super) proven: bool,
    /// Whether it is a form of the page, to be answered by the page again.
    pub(super) from_page: bool,
}

/// Lets a request through to its handler, or answers it with why not.
pub(super) async fn guard(State(context): State<Context>, request: Request, next: Next) -> Response {
    let mut response = match admit(&context, request).await {
        Ok(request) => match timeout(context.limits().request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let seconds = context.limits().request_timeout.as_secs();
                ApiError::unavailable(format!("Leveret did not answer within {seconds} s")).into_response()
            }
        },
        Err(refused) => refused.into_response(),
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `no-referrer` would make browsers send `Origin: null` with the page's own forms, so the referrer is kept within the site.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn admit(context: &Context, request: Request) -> Result<Request, ApiError> {
    let door = request.extensions().get::<Door>().cloned();
    // Without a door it is a mistake of ours; the strictest rule holds then: no name is ours.
    let door = door.ok_or_else(|| ApiError::forbidden("this connection has no door"))?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Door::Tcp(hosts) = &door {
        check_host(hosts, request.uri(), request.headers())?;
        check_site(hosts, request.headers(), reads)?;
    }
    if reads { Ok(request) } else { admit_change(context, &door, request).await }
}

fn check_host(hosts: &Hosts, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let ours = host.is_some_and(|host| hosts.contains(host))
        && uri.authority().is_none_or(|authority| hosts.contains(authority.as_str()));
    if ours {
        return Ok(());
    }
    Err(ApiError::forbidden(format!(
        "the Host header says {}, which is not a name of this server; if it is meant to be one, add it to allowed_hosts",
        host.map_or_else(|| "nothing".to_owned(), |host| format!("\"{host}\""))
    )))
}

/// Refuses what another web site made a browser send. Following a link to here is no harm.
fn check_site(hosts: &Hosts, headers: &HeaderMap, reads: bool) -> Result<(), ApiError> {
    let foreign = || Err(ApiError::forbidden("this request comes from another web site"));
    let site = headers.get(&SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let same_site = matches!(site, None | Some(b"same-origin" | b"none"));
    if reads {
        let navigates = headers.get(&SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate");
        return if same_site || navigates { Ok(()) } else { foreign() };
    }
    if !same_site {
        return foreign();
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if is_own_origin(hosts, origin) => Ok(()),
        Some(_) => foreign(),
    }
}

fn is_own_origin(hosts: &Hosts, origin: &HeaderValue) -> bool {
    let uri = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let authority = uri.as_ref().and_then(Uri::authority);
    authority.is_some_and(|authority| hosts.contains(authority.as_str()))
}

async fn admit_change(context: &Context, door: &Door, request: Request) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let mut fields = Fields::parse(&read_body(context, body).await?).await?;
    if let Some(query) = parts.uri.query() {
        fields.add_query(query)?;
    }
    let headers = &parts.headers;
    let header_token = headers.get(&TOKEN).and_then(|value| value.to_str().ok());
    let token = header_token.or_else(|| fields.text("token"));
    let browser =
        [&header::ORIGIN, &SEC_FETCH_SITE, &header::COOKIE].iter().any(|name| headers.contains_key(*name));
    let (proven, origin) = match door {
        Door::Unix => (true, Origin::CommandLine),
        Door::Tcp(_) => (token.is_some_and(|token| context.is_token(token)), origin(browser)),
    };
    if !proven && (browser || token.is_some()) {
        return Err(ApiError::forbidden(
            "a change from a browser needs this page's token; reload the page and try again",
        ));
    }
    let from_page = fields.text("from") == Some("page");
    parts.extensions.insert(Asked { fields, origin, proven, from_page });
    Ok(Request::from_parts(parts, Body::empty()))
}

fn origin(browser: bool) -> Origin {
    if browser { Origin::Page } else { Origin::Api }
}

async fn read_body(context: &Context, body: Body) -> Result<Bytes, ApiError> {
    let limits = context.limits();
    let body = Limited::new(body, limits.body_bytes).collect();
    let collected = timeout(limits.request_timeout, body).await.map_err(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body of the request did not arrive in time")
    })?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body of a request may have {} bytes at most", limits.body_bytes),
        )),
        Err(_) => Err(ApiError::invalid("the body of the request broke off")),
    }
}
