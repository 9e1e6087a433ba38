//! `--plot`: a comparison as a picture that needs nothing but itself, alone as SVG or in a page with the table. It
//! computes nothing that the table does not say, and reads no clock, so that the same seed gives the same bytes.

mod axis;
mod courses;
mod svg;
mod tradeoff;

use std::path::Path;
use std::str::FromStr;

use self::svg::{escaped, text};
use crate::simulation::catalogue::PolicyName;
use crate::simulation::comparison::Outcome;
use crate::simulation::queue::Scenario;
use crate::simulation::report::Report;

/// The width of the picture in pixels.
const WIDTH: f64 = 1_200.0;

/// The look. Blue, grey and vermilion are told apart by the colour-blind too (M. Okabe and K. Ito, *Color Universal
/// Design*, 2008), and no colour is the only sign.
const STYLE: &str = "\
svg{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",sans-serif}\
.ground{fill:#fff}text{fill:#22201c}.title{font-size:18px;font-weight:600}.head{font-size:14px;font-weight:600}\
.name{font-size:13px;font-weight:600}.ownname{font-size:13px;font-weight:600;fill:#005a91}.quiet,.tick,.end,.mid{fill:#666056}\
.tick,.mid,.end{font-size:11px}.mid{text-anchor:middle}.end{text-anchor:end}\
path{fill:none}.grid{stroke:#e6e2d9}.axis{stroke:#a9a397}.goal{stroke:#d55e00;stroke-dasharray:5 3}\
.least{stroke:#666056;stroke-dasharray:2 3}.course{stroke:#6f6a62;fill:#6f6a62;fill-opacity:.22}\
.own{stroke:#0072b2;fill:#0072b2;fill-opacity:.22}.over{fill:#d55e00;fill-opacity:.6;stroke:#d55e00}\
.demand{stroke:#22201c;stroke-width:.8}.dot{fill:#6f6a62;stroke:#fff}.owndot{fill:#0072b2;stroke:#fff}\
.bar{stroke:#a9a397}\
@media (prefers-color-scheme:dark){.ground{fill:#141412}text{fill:#ebe7df}.ownname{fill:#77c4f5}\
.quiet,.tick,.end,.mid{fill:#a39c8f}.grid{stroke:#2f2d29}.axis{stroke:#6f6a62}.goal{stroke:#ff9a4d}.least{stroke:#a39c8f}\
.course{stroke:#aaa398;fill:#aaa398}.own{stroke:#56b4e9;fill:#56b4e9}.over{fill:#ff8a3d;stroke:#ff8a3d}.demand{stroke:#ebe7df}\
.dot{fill:#aaa398;stroke:#141412}.owndot{fill:#56b4e9;stroke:#141412}.bar{stroke:#6f6a62}}";

/// The look of the page around it.
const PAGE_STYLE: &str = "\
:root{color-scheme:light dark}body{margin:0 auto;padding:1rem;max-width:76rem;background:#fff;color:#22201c;\
font:0.9375rem/1.45 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",sans-serif}svg{width:100%;height:auto}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}\
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e6e2d9}th{font-size:.75rem;color:#666056}\
th:first-child,td:first-child{text-align:left}\
@media (prefers-color-scheme:dark){body{background:#141412;color:#ebe7df}th,td{border-color:#2f2d29}th{color:#a39c8f}}";

/// What a plot is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The picture alone.
    Svg,
    /// A page with the picture and the table.
    Html,
}

impl Form {
    /// The form that the name of a file asks for.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        extension
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|()| format!("--plot {} says no form; end the name in .svg or .html", path.display()))
    }
}

impl FromStr for Form {
    type Err = ();

    fn from_str(extension: &str) -> Result<Self, ()> {
        match extension {
            "svg" => Ok(Self::Svg),
            "html" => Ok(Self::Html),
            _ => Err(()),
        }
    }
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// What was simulated, in one line.
    pub(super) headline: &'a str,
    /// The circumstances.
    pub(super) scenario: &'a Scenario,
    /// How many seeds.
    pub(super) seeds: u32,
    /// The policies, with the moments of their first seed.
    pub(super) outcomes: &'a [Outcome],
    /// Consumers that the arriving work takes, in equal stretches over `length` seconds, of the first seed.
    pub(super) demand: &'a [f64],
    /// Length of the workload in seconds.
    pub(super) length: f64,
    /// The names of the table's columns.
    pub(super) columns: &'a [&'a str],
    /// The rows of the table.
    pub(super) rows: &'a [Vec<String>],
}

impl Plot<'_> {
    /// The whole file.
    pub(super) fn file(&self, form: Form) -> String {
        match form {
            Form::Svg => format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", self.picture()),
            Form::Html => self.page(),
        }
    }

    fn picture(&self) -> String {
        let mut body = text("title", 24.0, 36.0, self.headline);
        let (tradeoff, after) = tradeoff::draw(self, 68.0);
        let (courses, height) = courses::draw(self, after);
        body.push_str(&tradeoff);
        body.push_str(&courses);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{name}\">\n<title>{name}</title>\n\
             <style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n",
            name = escaped(self.headline),
        )
    }

    fn page(&self) -> String {
        let name = escaped(self.headline);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{name}</title>\n\
             <style>{PAGE_STYLE}</style>\n</head>\n<body>\n{}<div class=\"scroll\"><table>\n<tr>",
            self.picture()
        );
        for column in self.columns {
            page.push_str(&format!("<th>{}</th>", escaped(column)));
        }
        page.push_str("</tr>\n");
        for row in self.rows {
            page.push_str("<tr>");
            for cell in row {
                page.push_str(&format!("<td>{}</td>", escaped(cell)));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table></div>\n</body>\n</html>\n");
        page
    }

    /// The goal in seconds.
    fn goal(&self) -> f64 {
        self.scenario.wait.as_secs_f64()
    }
}

/// Whether it is this engine.
fn is_own(policy: PolicyName) -> bool {
    matches!(policy, PolicyName::Own(..))
}

/// The share over the goal in percent, with as many digits as it takes to be seen.
fn percent(outcome: &Outcome) -> String {
    let share = 100.0 * outcome.figure(|report| report.over_goal).mean;
    if share >= 10.0 { format!("{share:.0} %") } else { format!("{share:.2} %") }
}

/// The mean cost.
fn cost(outcome: &Outcome) -> f64 {
    outcome.figure(|report: &Report| report.consumer_seconds).mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::builtin::Builtin;
    use crate::simulation::comparison::compare;

    /// The picture of a short comparison with a name that would end an element.
    fn files(seeds: u32) -> (Vec<PolicyName>, [String; 2]) {
        let mut policies = PolicyName::ALL.to_vec();
        policies.push(PolicyName::Fixed(8));
        let scenario = Scenario::default();
        let workload = |seed| Builtin::Burst.workload(seed, 0.1);
        let outcomes = compare(&policies, seeds, &scenario, &workload, true, &|_| ());
        let rows: Vec<Vec<String>> = policies.iter().map(|policy| vec![policy.to_string()]).collect();
        let plot = Plot {
            headline: "a<b>&c.csv: 2 messages",
            scenario: &scenario,
            seeds,
            outcomes: &outcomes,
            demand: &[1.0, 3.0, 2.0],
            length: 3_600.0,
            columns: &["POLICY"],
            rows: &rows,
        };
        (policies, [plot.file(Form::Svg), plot.file(Form::Html)])
    }

    /// Every element is ended by its own name, and no text ends one: what XML asks of what is written here.
    fn assert_well_formed(xml: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = xml;
        while let Some((text, after)) = rest.split_once('<') {
            assert!(!text.contains('>') || open.last() == Some(&"style"), "{text}");
            let (tag, after) = after.split_once('>').expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
                open.push(tag.split_whitespace().next().expect("a tag has a name"));
            }
        }
        assert_eq!(open, Vec::<&str>::new());
        assert!(xml.split('&').skip(1).all(|after| after.find(';').is_some_and(|end| end < 5)));
    }

    #[test]
    fn both_forms_are_well_formed_name_every_policy_and_need_nothing_from_elsewhere() {
        for seeds in [1, 2] {
            let (policies, files) = files(seeds);
            for file in &files {
                assert_well_formed(file);
                for policy in &policies {
                    // Beside its mark, and beside its row.
                    assert!(file.matches(&format!(">{policy}</text>")).count() == 2, "{policy}");
                }
                let foreign = file.replace("http://www.w3.org/2000/svg", "");
                assert!(
                    !foreign.contains("http") && !foreign.contains("<script") && !foreign.contains("url(h")
                );
                assert!(file.contains("a&lt;b&gt;&amp;c.csv: 2 messages") && file.len() < 1_000_000);
                assert!(!file.contains("NaN") && !file.contains("inf "), "no number is none");
            }
            assert!(files[1].contains("<td>fixed-8</td>"));
        }
        assert_eq!(files(1).1, files(1).1);
    }

    #[test]
    fn the_end_of_the_name_says_the_form() {
        assert_eq!(Form::of(Path::new("a.b/c.svg")), Ok(Form::Svg));
        assert_eq!(Form::of(Path::new("c.HTML")), Ok(Form::Html));
        for name in ["c.png", "svg", ".svg"] {
            let refused = Form::of(Path::new(name)).unwrap_err();
            assert_eq!(refused, format!("--plot {name} says no form; end the name in .svg or .html"));
        }
    }
}
