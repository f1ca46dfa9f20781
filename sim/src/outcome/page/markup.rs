//! HTML and SVG as text: every element closed, every text escaped.
//!
//! What comes out is well-formed XML as well as HTML, so that a test can read it with a strict parser.

use std::fmt::Write as _;

/// Markup in the making.
#[derive(Default)]
pub(super) struct Markup {
    out: String,
    open: Vec<&'static str>,
}

/// Attributes: name and value, which is escaped.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Markup {
    /// Opens an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.start(tag, attributes);
        self.out.push('>');
        self.open.push(tag);
        self
    }

    /// Closes the element that was opened last.
    pub(super) fn close(&mut self) -> &mut Self {
        if let Some(tag) = self.open.pop() {
            let _ = write!(self.out, "</{tag}>");
        }
        self
    }

    /// Text of whatever origin.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.out);
        self
    }

    /// An element that holds only text.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) -> &mut Self {
        self.open(tag, attributes).text(text).close()
    }

    /// An element without content; of HTML's only those that never have any (`meta`), and SVG's.
    pub(super) fn void(&mut self, tag: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.start(tag, attributes);
        self.out.push_str("/>");
        self
    }

    /// Markup of our own making.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// All of it.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn start(&mut self, tag: &str, attributes: Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            let _ = write!(self.out, " {name}=\"");
            escape(value, &mut self.out);
            self.out.push('"');
        }
    }
}

/// Text for content and quoted attributes. What XML forbids, and what would turn the direction of the text around it, is
/// shown as a replacement character.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => out.push('\u{fffd}'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other if u32::from(other) & 0xfffe == 0xfffe => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}
