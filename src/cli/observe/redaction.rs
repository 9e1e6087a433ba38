//! Commands without their secrets: what looks like a password is replaced by a variable. It rather hides too much; what looks like
//! nothing of the kind is not found.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::passwords_in_addresses;

/// Words in the name of an option, a variable or a field whose value is a secret.
const TELLTALES: [&str; 16] = [
    "pass",
    "passwd",
    "password",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "credentials",
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "pin",
    "signature",
];
/// A name that ends in `key` is one of a secret, unless this stands before it.
const KEYS_OF_NO_SECRET: [&str; 8] =
    ["routing", "binding", "partition", "cache", "message", "sort", "primary", "foreign"];
/// Options whose value is a login: `name:password`.
const LOGINS: [&str; 3] = ["-u", "--user", "--login"];
/// Programs whose short option is followed by a password, with or without a space: `mysql -pSECRET`.
const SHORT_PASSWORDS: [(&str, &str); 4] =
    [("mysql", "-p"), ("mariadb", "-p"), ("mongo", "-p"), ("redis", "-a")];
/// How a word of a name ends that is telling.
const TELLTALE_ENDS: [&str; 3] = ["pass", "pw", "pwd"];
/// Words that end so and tell nothing.
const ENDS_OF_NO_SECRET: [&str; 2] = ["bypass", "compass"];
/// Parts of a word that are as telling wherever they stand.
const TELLTALE_PARTS: [&str; 4] = ["password", "passwd", "secret", "token"];
/// The last word of a name that only says where a secret is.
const PLACES: [&str; 4] = ["file", "path", "dir", "env"];

/// So long is what stands alone before the `@` of an address at the least if it is a token and no user.
const TOKEN_BYTES_LEAST: usize = 16;

/// The longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 60;

/// A piece of a command's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// The variable that stands for a secret.
    Variable(String),
}

/// A command that may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its words.
    pub(super) words: Vec<Vec<Part>>,
    /// The variables in it, in their order.
    pub(super) variables: Vec<String>,
}

impl Shown {
    /// A command in which every secret is replaced by a variable whose name begins with `program`.
    pub(super) fn of(program: &str, words: &[String]) -> Self {
        let mut naming = Naming { program: program.to_owned(), ..Naming::default() };
        let mut shown = Vec::with_capacity(words.len());
        let mut awaited: Option<String> = None;
        let mut is_login = false;
        let short = short_password(words);
        for word in words {
            let secrets = match awaited.take() {
                None if short.is_some_and(|short| word.starts_with(short) && word.len() > short.len()) => {
                    vec![Secret { at: 2..word.len(), what: "password".to_owned() }]
                }
                None if is_login || word.starts_with("--user=") => login(word),
                // An option follows, so the one before was a switch.
                Some(option) if !(word.starts_with("--") || word.starts_with('-') && word.len() <= 2) => {
                    vec![Secret { at: 0..word.len(), what: option }]
                }
                Some(_) | None => secrets(word),
            };
            let is_short = short.is_some_and(|short| word == short);
            awaited = if is_short { Some("password".to_owned()) } else { option_before_its_value(word) };
            is_login = LOGINS.contains(&word.as_str());
            shown.push(naming.replace(word, &secrets));
        }
        Self { words: shown, variables: naming.order }
    }
}

/// The short option of this program behind which a password stands.
fn short_password(words: &[String]) -> Option<&'static str> {
    let files = || words.iter().map(|word| word.rsplit('/').next().unwrap_or(word));
    SHORT_PASSWORDS
        .iter()
        .find(|(program, _)| files().any(|file| file.starts_with(program)))
        .map(|(_, option)| *option)
}

/// Where a secret is, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    at: Range<usize>,
    what: String,
}

/// `name:password`, with or without an option before it.
fn login(word: &str) -> Vec<Secret> {
    match word.find(':') {
        Some(colon) if !word.contains("://") && colon + 1 < word.len() => {
            vec![Secret { at: colon + 1..word.len(), what: "password".to_owned() }]
        }
        Some(_) | None => secrets(word),
    }
}

/// `--db-password` where the password is the next word.
fn option_before_its_value(word: &str) -> Option<String> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    (is_name && is_telltale(name)).then(|| name.to_owned())
}

/// All secrets of a word, in their order; none overlaps another.
fn secrets(word: &str) -> Vec<Secret> {
    let mut found: Vec<Secret> = Vec::new();
    let password = |at| Secret { at, what: "password".to_owned() };
    found.extend(passwords_in_addresses(word).into_iter().filter(|at| !at.is_empty()).map(password));
    found.extend(passwords_before_hosts(word).map(password));
    found.extend(tokens_in_addresses(word));
    found.extend(named(word));
    found.sort_by_key(|secret| (secret.at.start, std::cmp::Reverse(secret.at.end)));
    let mut end = 0;
    found.retain(|secret| {
        let is_apart = secret.at.start >= end;
        end = end.max(secret.at.end);
        is_apart
    });
    found
}

/// `name:password@host` without a scheme, as Go's drivers take it.
fn passwords_before_hosts(word: &str) -> impl Iterator<Item = Range<usize>> {
    word.match_indices('@').filter_map(|(end, _)| {
        let begin = word[..end].rfind(':')? + 1;
        let is_password = !word[begin..end].contains(['/', '@', ' ', '=']) && begin < end;
        let is_named =
            word[..begin - 1].ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        (is_password && is_named).then_some(begin..end)
    })
}

/// `https://TOKEN@host`.
fn tokens_in_addresses(word: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    for (place, separator) in word.match_indices("://") {
        let start = place + separator.len();
        let rest = &word[start..];
        let authority = &rest[..rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len())];
        let Some(end) = authority.find('@') else { continue };
        if end >= TOKEN_BYTES_LEAST && !authority[..end].contains(':') {
            found.push(Secret { at: start..start + end, what: "token".to_owned() });
        }
    }
    found
}

/// `password=x`, `--token=x`, `"secret": "x"`, `?api_key=x&`, `Authorization: Bearer x`, and `--password x` within a script.
fn named(word: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut from = 0;
    while let Some(offset) = word[from..].find(is_of_name) {
        let start = from + offset;
        let end = word[start..].find(|c| !is_of_name(c)).map_or(word.len(), |length| start + length);
        from = end;
        let name = word[start..end].trim_matches('-');
        if !is_telltale(name) {
            continue;
        }
        let Some(begin) = value_after(word, start, end) else { continue };
        let rest = &word[begin..];
        let closing = word[..begin].chars().next_back().filter(|c| matches!(c, '"' | '\''));
        // An option is a word of its own, whatever its value contains.
        let is_whole = start == 0 && (word.starts_with('-') || !word.contains(char::is_whitespace));
        let length = match closing {
            Some(quote) => rest.find(quote),
            None if is_whole
                || ["authorization", "cookie"].iter().any(|known| name.eq_ignore_ascii_case(known)) =>
            {
                None
            }
            None if rest.starts_with("${") => rest.find('}').map(|end| end + 1),
            None => rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ';' | ',' | '}')),
        };
        let at = begin..length.map_or(word.len(), |length| begin + length);
        if !at.is_empty() && !is_reference(word, &word[at.clone()]) {
            from = at.end;
            found.push(Secret { at, what: name.to_owned() });
        }
    }
    found
}

/// Whether a value within a line for a shell only names the variable that has it.
fn is_reference(line: &str, value: &str) -> bool {
    let name =
        value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).or_else(|| value.strip_prefix('$'));
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    line.contains(char::is_whitespace) && name.is_some_and(is_name)
}

/// Where the value begins that belongs to the name between `start` and `end`.
fn value_after(word: &str, start: usize, end: usize) -> Option<usize> {
    let rest = &word[end..];
    let unquoted = rest.trim_start_matches(['"', '\'']);
    let spaced = unquoted.trim_start();
    let after = match spaced.strip_prefix(['=', ':']) {
        // `auth:clear` is the name of a command, and `Password::reset` one in code.
        Some(after)
            if spaced.starts_with(':')
                && rest.len() == spaced.len()
                && !after.starts_with([' ', '"', '\'']) =>
        {
            return None;
        }
        Some(after) => after.trim_start(),
        // An option with its value behind it, in a line that a shell takes.
        None if word[start..].starts_with("--")
            && spaced.len() < unquoted.len()
            && !spaced.starts_with('-') =>
        {
            spaced
        }
        None => return None,
    };
    let after = after.strip_prefix(['"', '\'']).unwrap_or(after);
    Some(word.len() - after.len())
}

fn is_telltale(name: &str) -> bool {
    let mut words: Vec<String> = Vec::new();
    let mut is_new = true;
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            is_new = true;
            continue;
        }
        // dbPassword is two words.
        is_new |= was_lower && c.is_ascii_uppercase();
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        match words.last_mut().filter(|_| !is_new) {
            Some(word) => word.push(c.to_ascii_lowercase()),
            None => words.push(c.to_ascii_lowercase().to_string()),
        }
        is_new = false;
    }
    if words.last().is_some_and(|last| PLACES.contains(&last.as_str())) {
        return false;
    }
    let is_word = |word: &String| {
        TELLTALES.contains(&word.as_str())
            || TELLTALE_PARTS.iter().any(|part| word.contains(part))
            || TELLTALE_ENDS.iter().any(|end| word.ends_with(end))
                && !ENDS_OF_NO_SECRET.contains(&word.as_str())
    };
    let is_secret_key = match words.as_slice() {
        [.., of, key] => key == "key" && !KEYS_OF_NO_SECRET.contains(&of.as_str()),
        [only] => only.strip_suffix("key").is_some_and(|of| !KEYS_OF_NO_SECRET.contains(&of)),
        [] => false,
    };
    is_secret_key || words.iter().any(is_word)
}

/// The names of variables, one for each secret.
#[derive(Debug, Default)]
struct Naming {
    program: String,
    by_secret: BTreeMap<String, String>,
    order: Vec<String>,
}

impl Naming {
    fn replace(&mut self, word: &str, secrets: &[Secret]) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut from = 0;
        for Secret { at, what } in secrets {
            parts.push(Part::Text(word[from..at.start].to_owned()));
            parts.push(Part::Variable(self.name(&word[at.clone()], what)));
            from = at.end;
        }
        parts.push(Part::Text(word[from..].to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        parts
    }

    fn name(&mut self, secret: &str, what: &str) -> String {
        if let Some(name) = self.by_secret.get(secret) {
            return name.clone();
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut base: String = format!("{}_{what}", self.program).chars().map(plain).collect();
        if base.starts_with(|c: char| c.is_ascii_digit()) {
            base.insert(0, '_');
        }
        base.truncate(NAME_BYTES_MAX);
        let mut name = base.clone();
        let mut number = 1;
        while self.order.contains(&name) {
            number += 1;
            name = format!("{base}_{number}");
        }
        self.by_secret.insert(secret.to_owned(), name.clone());
        self.order.push(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => format!("<{name}>"),
        };
        Shown::of("orders", &words).words.iter().map(|word| word.iter().map(part).collect()).collect()
    }

    #[test]
    fn passwords_and_tokens_are_replaced_wherever_they_stand() {
        for (word, expected) in [
            ("--dsn=amqp://shop:hunter2@mq/v", "--dsn=amqp://shop:<ORDERS_PASSWORD>@mq/v"),
            ("amqp://shop:p@ss/hunter2@mq", "amqp://shop:<ORDERS_PASSWORD>@mq"),
            ("https://hunter2hunter2hunter2@sentry.example/1", "https://<ORDERS_TOKEN>@sentry.example/1"),
            ("--password=hunter2", "--password=<ORDERS_PASSWORD>"),
            ("--db-passwd=hunter2", "--db-passwd=<ORDERS_DB_PASSWD>"),
            ("DB_PASSWORD=hunter2", "DB_PASSWORD=<ORDERS_DB_PASSWORD>"),
            ("dbPassword=hunter2", "dbPassword=<ORDERS_DBPASSWORD>"),
            ("http://h/?a=1&token=hunter2&b=2", "http://h/?a=1&token=<ORDERS_TOKEN>&b=2"),
            ("{\"secret\": \"hunter2 x\", \"b\": 1}", "{\"secret\": \"<ORDERS_SECRET>\", \"b\": 1}"),
            ("pgsql:host=h;password=hunter2;x=y", "pgsql:host=h;password=<ORDERS_PASSWORD>;x=y"),
            ("Authorization: Bearer hunter2", "Authorization: <ORDERS_AUTHORIZATION>"),
            ("mysql --password hunter2 shop", "mysql --password <ORDERS_PASSWORD> shop"),
            ("--password=hunter2,hunter3;x&y z", "--password=<ORDERS_PASSWORD>"),
            ("DB_PASSWORD=hunter2,hunter3", "DB_PASSWORD=<ORDERS_DB_PASSWORD>"),
            ("PASSWORD=hunter2 php x.php", "PASSWORD=<ORDERS_PASSWORD> php x.php"),
            ("{\"a\":1,\"token\":\"hunter2\"}", "{\"a\":1,\"token\":\"<ORDERS_TOKEN>\"}"),
            ("--encryption-key=hunter2", "--encryption-key=<ORDERS_ENCRYPTION_KEY>"),
            ("--user=me:hunter2", "--user=me:<ORDERS_PASSWORD>"),
            ("--password=$hunter2", "--password=<ORDERS_PASSWORD>"),
            ("--api-key=hunter2", "--api-key=<ORDERS_API_KEY>"),
        ] {
            assert_eq!(shown(&[word]), [expected], "{word}");
        }
        assert_eq!(
            shown(&["--password", "hunter2", "orders"]),
            ["--password", "<ORDERS_PASSWORD>", "orders"]
        );
        assert_eq!(shown(&["curl", "-u", "me:hunter2"]), ["curl", "-u", "me:<ORDERS_PASSWORD>"]);
        assert_eq!(shown(&["-token", "hunter2"]), ["-token", "<ORDERS_TOKEN>"]);
    }

    #[test]
    fn no_form_that_is_in_use_lets_a_secret_through() {
        let commands: [&[&str]; 13] = [
            &["--dsn=shop:hunter2@tcp(db:3306)/shop"],
            &["mysql", "-phunter2"],
            &["/usr/bin/mysqldump", "-p", "hunter2"],
            &["redis-cli", "-a", "hunter2"],
            &["--dbpass=hunter2"],
            &["--accesskey=hunter2"],
            &["--signature=hunter2"],
            &["--pin=hunter2"],
            &["--redis-pw", "hunter2"],
            &["--bearer", "hunter2"],
            &["--header=Cookie: sid=hunter2"],
            &["--password", "-hunter2"],
            &["--api-key", "hunter2"],
        ];
        for words in commands {
            let shown = shown(words).join(" ");
            assert!(!shown.contains("hunter2"), "{words:?}: {shown}");
        }
        assert_eq!(shown(&["ssh", "-p2222", "--password", "-v"]), ["ssh", "-p2222", "--password", "-v"]);
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        for word in [
            "messenger:consume",
            "--queue=orders",
            "--routing-key=orders.new",
            "auth:clear-resets",
            "token:refresh",
            "--user=me",
            "--bypass=1",
            "--compass",
            "amqp://shop@mq/v",
            "http://host:80/path",
            "--password-file=/run/secrets/x",
            "token",
            "App\\Token::class",
            "run --password=${DB_PASSWORD} x",
            "run --password $DB_PASSWORD x",
            "größe=7",
            "",
        ] {
            assert_eq!(shown(&[word]), [word]);
        }
        assert_eq!(shown(&["--no-auth", "--queue", "orders"]), ["--no-auth", "--queue", "orders"]);
    }

    #[test]
    fn equal_secrets_share_a_variable_and_others_do_not() {
        let words = ["--password=a1", "amqp://u:a1@h", "--password=b2"].map(str::to_owned);
        let Shown { variables, .. } = Shown::of("9 lives", &words);
        assert_eq!(variables, ["_9_LIVES_PASSWORD", "_9_LIVES_PASSWORD_2"]);
    }
}
