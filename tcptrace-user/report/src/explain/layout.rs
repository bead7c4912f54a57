//! Lays a text out for a terminal: paragraphs flow to its width, commands and diagrams stay as they are.
//!
//! This is not Markdown, but the five forms that the texts use: `# `, `## `, `- `, four spaces, and prose. A command is
//! never broken, because readers copy it. Its comment goes on the line before it if both do not fit on one.

use anstyle::Style;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The text, styled, in lines of at most `width` columns where words allow it.
pub(super) fn page(text: &str, width: usize) -> String {
    let mut page = Page { out: String::new(), width };
    let mut prose = String::new();
    for line in text.lines() {
        let continues = !(line.is_empty() || line.starts_with(['#', ' ']) || line.starts_with("- "));
        if continues {
            // The second line of an item, too.
            prose.push_str(if prose.is_empty() { "" } else { " " });
            prose.push_str(line);
            continue;
        }
        if line.starts_with("  ") && !line.starts_with("    ") {
            prose.push(' ');
            prose.push_str(line.trim_start());
            continue;
        }
        page.prose(&std::mem::take(&mut prose));
        if let Some(title) = line.strip_prefix("# ") {
            page.wrapped(title, ("", ""), Some(BOLD));
        } else if let Some(heading) = line.strip_prefix("## ") {
            page.out.push('\n');
            page.wrapped(heading, ("", ""), Some(BOLD));
        } else if line.starts_with("- ") {
            line.clone_into(&mut prose);
        } else if let Some(literal) = line.strip_prefix("    ") {
            page.literal(literal);
        } else {
            page.out.push('\n');
        }
    }
    page.prose(&prose);
    page.out
}

/// A name and its sentence, in columns.
pub(super) fn entry(name: &str, sentence: &str, width: usize) -> String {
    const COLUMN: usize = 29;
    let mut page = Page { out: String::new(), width };
    let indent = if width < 2 * COLUMN { 4 } else { COLUMN };
    let (head, blank) = (format!("  {name:<25}  "), " ".repeat(indent));
    page.wrapped(sentence, (&head, &blank), None);
    page.out
}

struct Page {
    out: String,
    width: usize,
}

impl Page {
    fn prose(&mut self, text: &str) {
        if let Some(item) = text.strip_prefix("- ") {
            self.wrapped(item, ("  - ", "    "), None);
        } else if !text.is_empty() {
            self.wrapped(text, ("  ", "  "), None);
        }
    }

    fn literal(&mut self, line: &str) {
        let Some((command, comment)) = line.split_once("    # ") else {
            let style = line.starts_with("# ").then_some(DIM);
            self.line("    ", line, style);
            return;
        };
        if 4 + line.len() <= self.width {
            self.out += &format!("    {command}    {DIM}# {comment}{DIM:#}\n");
        } else {
            self.wrapped(comment, ("    # ", "    # "), Some(DIM));
            self.line("    ", command.trim_end(), None);
        }
    }

    /// Fills lines with words; the first begins with the one indent, the others with the other.
    fn wrapped(&mut self, text: &str, (first, rest): (&str, &str), style: Option<Style>) {
        let (mut indent, mut line) = (first, String::new());
        for word in text.split_whitespace() {
            if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > self.width {
                self.line(indent, &line, style);
                indent = rest;
                line.clear();
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        self.line(indent, &line, style);
    }

    fn line(&mut self, indent: &str, line: &str, style: Option<Style>) {
        let style = style.unwrap_or_default();
        self.out += &format!("{style}{indent}{line}{style:#}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::{entry, page};
    use crate::explain::Topic;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn prose_flows_and_commands_stay() {
        let text = "# it: What it is.\n## Fix\nOne two\nthree four five.\n- An item that\n  goes on.\n    \
                    ss -ltn 'sport = :80'    # a comment\n";
        let wide = "it: What it is.\n\nFix\n  One two three four five.\n  - An item that goes on.\n    \
                    ss -ltn 'sport = :80'    # a comment\n";
        assert_eq!(plain(&page(text, 80)), wide);
        let narrow = "it: What it is.\n\nFix\n  One two three four\n  five.\n  - An item that\n    goes on.\n    \
                      # a comment\n    ss -ltn 'sport = :80'\n";
        assert_eq!(plain(&page(text, 20)), narrow);
    }

    /// No word gets lost, and only commands and diagrams are longer than the line.
    #[test]
    fn every_text_fits_a_terminal() {
        for topic in Topic::all() {
            let words = |text: &str| {
                let mut words: Vec<_> = text.split_whitespace().filter(|it| it.len() > 2).map(str::to_owned).collect();
                words.sort_unstable();
                words
            };
            for width in [40, 80, 100] {
                let page = plain(&page(topic.text(), width));
                assert_eq!(words(&page), words(topic.text()), "{}", topic.name());
                let too_long = page.lines().filter(|it| it.len() > width && !it.starts_with("    "));
                assert_eq!(too_long.collect::<Vec<_>>(), [""; 0], "{}", topic.name());
                assert!(entry(topic.name(), topic.sentence(), width).lines().all(|it| width < 80 || it.len() <= width));
            }
        }
    }
}
