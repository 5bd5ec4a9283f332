//! Serializes filtered XML elements of XMP packets, with their namespaces.

use std::fmt::Write;

use roxmltree::Node;

/// Maximum nesting depth; XMP structures stay far below.
const DEEPEST: usize = 32;

/// Serializes an element with its content; `None` if it is nested too deep. `is_kept` decides by namespace, name and
/// text whether an element or attribute is written.
pub(super) fn written(node: Node<'_, '_>, is_kept: &mut IsKept<'_>) -> Option<String> {
    let mut out = String::new();
    write(node, is_kept, &mut out, DEEPEST)?;
    Some(out)
}

/// Whether to keep an element or attribute, by namespace, name and text.
pub(super) type IsKept<'a> = dyn FnMut(&str, &str, &str) -> bool + 'a;

fn write(
    node: Node<'_, '_>,
    is_kept: &mut IsKept<'_>,
    out: &mut String,
    left: usize,
) -> Option<()> {
    let left = left.checked_sub(1)?;
    let name = node.tag_name();
    if !is_kept(name.namespace().unwrap_or_default(), name.name(), node.text().unwrap_or_default())
    {
        return Some(());
    }
    // Each element declares its own namespaces, under names of ours: the file's are bound elsewhere.
    let mut bound: Vec<&str> = Vec::new();
    let mut tag = named(&mut bound, name.namespace(), name.name());
    let opening = tag.clone();
    for attribute in node.attributes() {
        let (namespace, local) = (attribute.namespace(), attribute.name());
        if is_kept(namespace.unwrap_or_default(), local, attribute.value()) {
            let name = match namespace {
                Some(it) if it == XML => format!("xml:{local}"),
                it => named(&mut bound, it, local),
            };
            let _ = write!(tag, " {name}=\"{}\"", escaped(attribute.value()));
        }
    }
    for (index, namespace) in bound.iter().enumerate() {
        let _ = write!(tag, " xmlns:{}=\"{}\"", prefix(namespace, index), escaped(namespace));
    }
    if !node.has_children() {
        let _ = write!(out, "<{tag}/>");
        return Some(());
    }
    let _ = write!(out, "<{tag}>");
    for child in node.children() {
        if child.is_element() {
            write(child, is_kept, out, left)?;
        } else if child.is_text() {
            out.push_str(&escaped(child.text().unwrap_or_default()));
        }
    }
    let _ = write!(out, "</{opening}>");
    Some(())
}

const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// A qualified name; its namespace's prefix is declared if it is new.
fn named<'a>(bound: &mut Vec<&'a str>, namespace: Option<&'a str>, local: &str) -> String {
    let Some(namespace) = namespace else { return local.to_owned() };
    let index = bound.iter().position(|it| *it == namespace).unwrap_or_else(|| {
        bound.push(namespace);
        bound.len() - 1
    });
    format!("{}:{local}", prefix(namespace, index))
}

/// The usual prefix of a namespace, else a numbered one.
fn prefix(namespace: &str, index: usize) -> String {
    let usual = super::xmp::NAMESPACES.iter().find(|(_, it)| *it == namespace);
    usual.map_or_else(|| format!("ns{index}"), |(prefix, _)| (*prefix).to_owned())
}

/// XML-escaped text for attributes and elements.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // They would come back as other white space.
            '\r' => out.push_str("&#13;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            // XML has no other control characters.
            c if c.is_control() && u32::from(c) < 0x20 || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
            c => out.push(c),
        }
    }
    out
}
