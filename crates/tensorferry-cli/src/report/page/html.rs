//! HTML that all sections use.

/// Text, escaped for an element or a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // Not allowed in HTML.
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A table in a box that scrolls, also by keyboard.
pub(super) fn table<'a>(title: &str, head: &[&str], rows: impl Iterator<Item = &'a str>) -> String {
    let class = if head.len() < 3 { "wide narrow" } else { "wide" };
    let title = escaped(title);
    let mut html = format!(
        "<div class=\"{class}\" role=\"region\" aria-label=\"{title}\" \
        tabindex=\"0\"><table>\n<thead><tr>"
    );
    for (at, name) in head.iter().enumerate() {
        let class = if at == 0 { " class=\"name\"" } else { "" };
        html += &format!("<th{class} scope=\"col\">{}</th>", escaped(name));
    }
    html += "</tr></thead>\n<tbody>\n";
    for row in rows {
        html += row;
        html.push('\n');
    }
    html + "</tbody>\n</table></div>\n"
}
