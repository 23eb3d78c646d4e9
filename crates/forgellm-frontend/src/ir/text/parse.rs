//! Text to graph.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::ParseError;
use super::attributes::Attributes;
use super::lexer::{Kind, Token, tokens};
use crate::ir::{Dim, Graph, Node, OutputRole, Shape, ValueId, Weight, WeightId};

impl FromStr for Graph {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Graph, ParseError> {
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            let tokens = tokens(index + 1, line)?;
            if !tokens.is_empty() {
                parser.line(Line {
                    number: index + 1,
                    tokens: &tokens,
                    next: 0,
                    end: line.trim_end().chars().count() + 1,
                })?;
            }
        }
        parser.finish(text.lines().count().max(1))
    }
}

#[derive(Default)]
struct Parser {
    name: Option<String>,
    section: Section,
    weights: Vec<Weight>,
    weight_ids: BTreeMap<String, WeightId>,
    /// Shape of each value, and the line that says it.
    values: BTreeMap<u32, (Shape, usize)>,
    nodes: Vec<Node>,
    outputs: Vec<(OutputRole, ValueId)>,
    /// The first place that names each value.
    mentioned: BTreeMap<u32, (usize, usize)>,
}

#[derive(Default, Clone, Copy)]
enum Section {
    #[default]
    None,
    Weights,
    Nodes,
    Outputs,
}

impl Parser {
    fn line(&mut self, mut line: Line<'_>) -> Result<(), ParseError> {
        let section = match line.tokens {
            [Token { kind: Kind::Word(word), .. }] => match word.as_str() {
                "weights" => Some(Section::Weights),
                "nodes" => Some(Section::Nodes),
                "outputs" => Some(Section::Outputs),
                _ => None,
            },
            _ => None,
        };
        if self.name.is_none() {
            line.word("graph")?;
            self.name = Some(line.text()?);
        } else if let Some(section) = section {
            self.section = section;
            return Ok(());
        } else {
            match self.section {
                Section::None => return Err(line.expected("`weights`, `nodes` or `outputs`")),
                Section::Weights => self.weight(&mut line)?,
                Section::Nodes => self.node(&mut line)?,
                Section::Outputs => self.output(&mut line)?,
            }
        }
        line.end()
    }

    fn weight(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let start = line.next;
        let name = line.weight()?;
        line.mark(':')?;
        let dtype = line.parse_word("a tensor type")?;
        line.mark('[')?;
        let mut shape = Vec::new();
        while !line.accept(']') {
            if !shape.is_empty() {
                line.mark(',')?;
            }
            shape.push(line.parse_word("a dimension")?);
        }
        let id = WeightId(self.weights.len() as u32);
        if self.weight_ids.insert(name.clone(), id).is_some() {
            return Err(line.error_at(start, format!("weight `{name}` is listed twice")));
        }
        self.weights.push(Weight { name, dtype, shape });
        Ok(())
    }

    fn node(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let mut outputs = Vec::new();
        while !line.accept('=') {
            if line.at_end() && !outputs.is_empty() {
                return Ok(());
            }
            if !outputs.is_empty() {
                line.mark(',')?;
            }
            let start = line.next;
            let id = self.value(line)?;
            line.mark(':')?;
            let shape = line.shape()?;
            if let Some((_, first)) = self.values.insert(id.0, (shape, line.number)) {
                return Err(line.error_at(start, format!("{id} is given by line {first} already")));
            }
            outputs.push(id);
        }
        let op = line.next;
        let name = line.any_word("an operation")?;
        let mut inputs = Vec::new();
        if line.at_value() {
            inputs.push(self.value(line)?);
            while line.accept(',') {
                inputs.push(self.value(line)?);
            }
        }
        let mut attributes = Attributes::read(line, op)?;
        let layer = attributes.optional("layer", "a layer's number")?;
        let label = if line.at_end() { String::new() } else { line.text()? };
        let op = attributes.op(&name, &self.weight_ids)?;
        self.nodes.push(Node { op, inputs, outputs, layer, label });
        Ok(())
    }

    fn output(&mut self, line: &mut Line<'_>) -> Result<(), ParseError> {
        let start = line.next;
        let role = match line.any_word("`logits` or `hidden`")?.as_str() {
            "logits" => OutputRole::Logits,
            "hidden" => OutputRole::Hidden,
            other => {
                let message = format!("`{other}` is no output; there are `logits` and `hidden`");
                return Err(line.error_at(start, message));
            }
        };
        let value = self.value(line)?;
        self.outputs.push((role, value));
        Ok(())
    }

    fn value(&mut self, line: &mut Line<'_>) -> Result<ValueId, ParseError> {
        let place = (line.number, line.column(line.next));
        let id = line.value()?;
        self.mentioned.entry(id.0).or_insert(place);
        Ok(id)
    }

    fn finish(self, last_line: usize) -> Result<Graph, ParseError> {
        let Some(name) = self.name else {
            return Err(ParseError { line: 1, column: 1, message: "expected `graph \"name\"`".to_owned() });
        };
        let count = self.values.len() as u32;
        if let Some((id, (line, column))) =
            self.mentioned.iter().find(|(id, _)| !self.values.contains_key(id))
        {
            let message = format!("%{id} has no shape: no line gives it");
            return Err(ParseError { line: *line, column: *column, message });
        }
        if let Some(missing) = (0..count).find(|id| !self.values.contains_key(id)) {
            let message = format!("%{missing} is missing: values are numbered without gaps");
            return Err(ParseError { line: last_line, column: 1, message });
        }
        let mut graph = Graph::new(name);
        for weight in self.weights {
            graph.add_weight(weight);
        }
        for (shape, _) in self.values.into_values() {
            graph.add_value(shape);
        }
        for node in self.nodes {
            graph.add_node(node);
        }
        for (role, value) in self.outputs {
            graph.add_output(role, value);
        }
        Ok(graph)
    }
}

/// The tokens of a line, read from left to right.
#[derive(Clone)]
pub struct Line<'a> {
    number: usize,
    tokens: &'a [Token],
    next: usize,
    /// Column behind the last character.
    end: usize,
}

impl<'a> Line<'a> {
    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    pub fn at_end(&self) -> bool {
        self.peek().is_none()
    }

    fn at_value(&self) -> bool {
        matches!(self.peek(), Some(Kind::Value(_)))
    }

    fn end(&self) -> Result<(), ParseError> {
        if self.at_end() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }

    /// Number of the next token.
    pub fn position(&self) -> usize {
        self.next
    }

    fn column(&self, token: usize) -> usize {
        self.tokens.get(token).map_or(self.end, |token| token.column)
    }

    /// An error at a token.
    pub fn error_at(&self, token: usize, message: String) -> ParseError {
        ParseError { line: self.number, column: self.column(token), message }
    }

    /// An error at the next token, which is not `what`.
    pub fn expected(&self, what: &str) -> ParseError {
        let found = self.peek().map_or_else(|| "the line ends".to_owned(), Kind::describe);
        self.error_at(self.next, format!("expected {what}, found {found}"))
    }

    pub fn accept(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Kind::Mark(mark));
        self.next += usize::from(found);
        found
    }

    fn mark(&mut self, mark: char) -> Result<(), ParseError> {
        if self.accept(mark) { Ok(()) } else { Err(self.expected(&format!("`{mark}`"))) }
    }

    /// The next token, whatever it is.
    pub fn any(&mut self, what: &str) -> Result<&'a Kind, ParseError> {
        let kind = self.peek().ok_or_else(|| self.expected(what))?;
        self.next += 1;
        Ok(kind)
    }

    /// The next token, where it is a word.
    pub fn accept_word(&mut self) -> Option<&'a str> {
        let Some(Kind::Word(word)) = self.peek() else { return None };
        self.next += 1;
        Some(word)
    }

    fn any_word(&mut self, what: &str) -> Result<String, ParseError> {
        self.accept_word().map(str::to_owned).ok_or_else(|| self.expected(what))
    }

    fn word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.peek() != Some(&Kind::Word(word.to_owned())) {
            return Err(self.expected(&format!("`{word}`")));
        }
        self.next += 1;
        Ok(())
    }

    fn parse_word<T: FromStr>(&mut self, what: &str) -> Result<T, ParseError> {
        let parsed = match self.peek() {
            Some(Kind::Word(word)) => word.parse().ok(),
            _ => None,
        };
        let parsed = parsed.ok_or_else(|| self.expected(what))?;
        self.next += 1;
        Ok(parsed)
    }

    fn text(&mut self) -> Result<String, ParseError> {
        let Some(Kind::Text(text)) = self.peek() else { return Err(self.expected("a text in quotes")) };
        self.next += 1;
        Ok(text.clone())
    }

    fn weight(&mut self) -> Result<String, ParseError> {
        let Some(Kind::Weight(name)) = self.peek() else { return Err(self.expected("a weight (`@name`)")) };
        self.next += 1;
        Ok(name.clone())
    }

    fn value(&mut self) -> Result<ValueId, ParseError> {
        let Some(Kind::Value(id)) = self.peek() else { return Err(self.expected("a value (`%0`)")) };
        self.next += 1;
        Ok(ValueId(*id))
    }

    fn shape(&mut self) -> Result<Shape, ParseError> {
        self.mark('[')?;
        let rows = match self.peek() {
            Some(Kind::Word(word)) => match word.as_str() {
                "rows" => Some(Dim::Rows),
                "wanted" => Some(Dim::Wanted),
                "context" => Some(Dim::Context),
                number => number.parse().ok().map(Dim::Const),
            },
            _ => None,
        };
        let rows = rows.ok_or_else(|| self.expected("`rows`, `wanted`, `context` or a number"))?;
        self.next += 1;
        self.mark(',')?;
        let width = self.parse_word("a width")?;
        self.mark(']')?;
        Ok(Shape { rows, width })
    }
}
