//! Who may come in: the properties that the broker shows and the login that it checks.

use amq_protocol::protocol::connection::{Start, StartOk};
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, FieldTable};

use super::BrokerOptions;
use super::refusal::Refusal;

/// The first thing that the broker says.
pub(super) fn start() -> Start {
    let mut capabilities = FieldTable::default();
    for name in ["publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close"]
    {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("Leveret demo broker".into()));
    properties.insert("version".into(), AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()));
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties,
        mechanisms: "PLAIN AMQPLAIN".into(),
        locales: "en_US".into(),
    }
}

/// Checks a login and tells the user's name.
pub(super) fn log_in(answer: &StartOk, options: &BrokerOptions, refuse: bool) -> Result<String, Refusal> {
    let mechanism = answer.mechanism.as_str();
    let refused = || Refusal::login(mechanism);
    let response = answer.response.as_bytes();
    let credentials = match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => None,
    };
    let (user, password) = credentials.ok_or_else(refused)?;
    let right = match &options.login {
        Some((known, secret)) => *known == user && secret.reveal() == password,
        None => true,
    };
    if refuse || !right {
        return Err(refused());
    }
    Ok(user)
}

/// Whether the client wants to be told when the queue of a consumer goes away.
pub(super) fn wants_cancel_notices(answer: &StartOk) -> bool {
    let Some(AMQPValue::FieldTable(capabilities)) = answer.client_properties.inner().get("capabilities")
    else {
        return false;
    };
    capabilities.inner().get("consumer_cancel_notify") == Some(&AMQPValue::Boolean(true))
}

/// An identity, the user and the password, each after a zero. Source: RFC 4616.
fn plain(response: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(response).ok()?;
    let mut parts = text.split('\0').skip(1);
    let (user, password) = (parts.next()?, parts.next()?);
    Some((user.to_owned(), password.to_owned()))
}

/// A field table without its length, with LOGIN and PASSWORD: php-amqplib's way.
fn amqplain(response: &[u8]) -> Option<(String, String)> {
    let mut table = u32::try_from(response.len()).ok()?.to_be_bytes().to_vec();
    table.extend_from_slice(response);
    let (_, table) = parse_field_table(&table[..]).ok()?;
    let text = |key: &str| match table.inner().get(key) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        Some(AMQPValue::ShortString(text)) => Some(text.to_string()),
        _ => None,
    };
    Some((text("LOGIN")?, text("PASSWORD")?))
}
