//! report.md and report.html, a [`Document`] in the forms of `templates/`, and index.html.
//!
//! Whatever a run's files hold (a label with `<` or `|`) is shown as it is, in both forms.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::ReportError;
use super::document::Document;
use super::drawing::svg;
use super::grid::escape_markdown;

const STYLE: &str = include_str!("templates/report.css");

/// The text of report.md.
pub(super) fn markdown(document: &Document<'_>) -> Result<String, ReportError> {
    render(document, "report.md", include_str!("templates/report.md"))
}

/// The text of report.html, which needs no other file.
pub(super) fn html(document: &Document<'_>) -> Result<String, ReportError> {
    render(document, "report.html", include_str!("templates/report.html"))
}

/// The text of index.html, which needs no other file.
pub(super) fn index(index: &impl Serialize) -> Result<String, ReportError> {
    let shown = context! { style => STYLE, ..Value::from(Serde(index)) };
    fill("index.html", include_str!("templates/index.html"), shown)
}

fn render(document: &Document<'_>, name: &'static str, source: &str) -> Result<String, ReportError> {
    let (light, dark) = svg::style(document.figures().map(|figure| figure.svg));
    let shown =
        context! { style => STYLE, colours => context! { light, dark }, ..Value::from(Serde(document)) };
    fill(name, source, shown)
}

/// Fills a template in.
fn fill(name: &'static str, source: &str, shown: Value) -> Result<String, ReportError> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    engine.add_filter("cell", |text: &str| escape_markdown(text));
    engine.add_filter("line", escape_line);
    engine.add_filter("prose", |text: &str| Value::from_safe_string(escape_prose(text)));
    engine.add_filter("name", |text: &str| Value::from_safe_string(escape_name(text)));
    let failed = |error: minijinja::Error| ReportError::Template { name, detail: format!("{error:#}") };
    let template = engine.template_from_named_str(name, source).map_err(failed)?;
    // The engine takes the last line end away.
    template.render(shown).map(|text| text + "\n").map_err(failed)
}

/// Sentences keep their backquotes; only what would break the list or hide text is changed.
fn escape_line(sentence: &str) -> String {
    sentence.replace(['\n', '\r'], " ").replace('<', "\\<")
}

/// A variant's or workload's name as HTML. A line may end after a sign that separates its parts, and nowhere else.
fn escape_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '&' => text += "&amp;",
            '<' => text += "&lt;",
            '>' => text += "&gt;",
            '"' => text += "&quot;",
            other => text.push(other),
        }
        if matches!(letter, ':' | ',' | '=' | '_' | '/' | '.') {
            text += "<wbr>";
        }
    }
    text
}

/// A sentence as HTML, with text between backquotes as code.
fn escape_prose(sentence: &str) -> String {
    let mut text = String::with_capacity(sentence.len());
    let mut parts = sentence.split('`').peekable();
    let mut is_code = false;
    while let Some(part) = parts.next() {
        let part =
            part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        match is_code && parts.peek().is_some() {
            true => text += &format!("<code>{part}</code>"),
            // A backquote without its other half is a letter.
            false if is_code => text += &format!("`{part}"),
            false => text += &part,
        }
        is_code = !is_code;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_breaks_only_between_its_parts() {
        assert_eq!(
            escape_name("mimalloc:allow_thp=0,<b>"),
            "mimalloc:<wbr>allow_<wbr>thp=<wbr>0,<wbr>&lt;b&gt;"
        );
    }

    #[test]
    fn prose_shows_code_and_hides_nothing() {
        let shown = ["a `b<c>` d", "one ` only", "<script>&\"", "`x` and `y`"].map(escape_prose);
        assert_eq!(
            shown,
            [
                "a <code>b&lt;c&gt;</code> d",
                "one ` only",
                "&lt;script&gt;&amp;&quot;",
                "<code>x</code> and <code>y</code>"
            ]
        );
    }
}
