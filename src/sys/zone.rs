//! The time zone that the machine is set to.

use jiff::tz::TimeZone;

use crate::core::schedule::Zone;

/// The zone that `TZ` or `/etc/localtime` names, or UTC where neither names one.
pub fn of_the_machine() -> Zone {
    let zone = TimeZone::try_system().ok();
    let named = zone.as_ref().and_then(TimeZone::iana_name).and_then(|name| Zone::named(name).ok());
    named.unwrap_or_else(|| Zone::named("UTC").expect("the table of zones has UTC"))
}
