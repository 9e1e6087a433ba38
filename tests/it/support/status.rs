//! Reading the JSON of a program in `/api/v1/status`.

use std::collections::BTreeMap;

use serde_json::Value;

/// The processes of a program.
pub(crate) fn processes(program: &Value) -> impl Iterator<Item = &Value> {
    program["processes"].as_array().expect("a program has a list of processes").iter()
}

/// The main processes that live, by name.
pub(crate) fn pids(program: &Value) -> BTreeMap<String, i32> {
    let pid = |process: &Value| Some((id(process), i32::try_from(process["pid"].as_i64()?).ok()?));
    processes(program).filter_map(pid).collect()
}

/// The only main process of a program.
pub(crate) fn only_pid(program: &Value) -> i32 {
    let pids = pids(program);
    assert_eq!(pids.len(), 1, "{program:#}");
    *pids.values().next().expect("there is one")
}

/// The main processes of all programs, by name.
pub(crate) fn all_pids(status: &Value) -> BTreeMap<String, i32> {
    status["programs"].as_array().expect("there is a list of programs").iter().flat_map(pids).collect()
}

/// The name of a process.
pub(crate) fn id(process: &Value) -> String {
    process["id"].as_str().expect("a process has a name").to_owned()
}

/// A text field that must be there.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {value:#}"))
}
