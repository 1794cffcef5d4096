//! Marked parts of a document.

const BEGIN: &str = "<!-- figures: ";
const CLOSE: &str = " -->";
const END: &str = "<!-- figures: end -->";

/// What a mark says about the part after it.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Its first word.
    pub(crate) kind: String,
    /// The others.
    pub(crate) arguments: Vec<String>,
}

impl Mark {
    /// The runs that it names.
    pub(crate) fn runs(&self) -> Vec<String> {
        let paths = self.arguments.iter().map(|argument| {
            let argument = argument.split_once('=').map_or(argument.as_str(), |(_, from)| from);
            argument.split(':').next().unwrap_or_default()
        });
        let is_run = |path: &&str| path.starts_with("results/") && !path.ends_with(".md");
        paths.filter(is_run).map(str::to_owned).collect()
    }
}

/// A part of a document.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// Text without a mark.
    Plain(&'a str),
    /// The text between two marks, and the marks themselves.
    Marked { mark: Mark, begin: &'a str, content: &'a str, end: &'a str },
}

impl<'a> Part<'a> {
    /// What a reader sees of it.
    pub(crate) fn text(&self) -> &'a str {
        match self {
            Part::Plain(text) => text,
            Part::Marked { content, .. } => content,
        }
    }
}

/// The parts of a document, in order.
pub(crate) fn parts(mut text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some(at) = text.find(BEGIN) {
        parts.extend((at > 0).then_some(Part::Plain(&text[..at])));
        text = &text[at..];
        let begin = text.find(CLOSE).expect("a mark is closed") + CLOSE.len();
        let length = text[begin..].find(END).unwrap_or_else(|| panic!("no end of {}", &text[..begin]));
        let content = &text[begin..begin + length];
        assert!(!content.contains(BEGIN), "a mark within {}", &text[..begin]);
        let words = shlex::split(&text[BEGIN.len()..begin - CLOSE.len()]).expect("a shell's words");
        let mut words = words.into_iter();
        let mark = Mark { kind: words.next().expect("a kind"), arguments: words.collect() };
        parts.push(Part::Marked { mark, begin: &text[..begin], content, end: END });
        text = &text[begin + length + END.len()..];
    }
    parts.extend((!text.is_empty()).then_some(Part::Plain(text)));
    parts
}
