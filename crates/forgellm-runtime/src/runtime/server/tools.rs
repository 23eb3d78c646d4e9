//! Tools of a request: what the model is told of them, and how its answers call them.

use serde_json::{Value, json};

use crate::runtime::guide::{Grammar, literal, with_space};
use crate::runtime::server::error::ApiError;
use crate::runtime::server::fields::{Fields, wrong_type};
use crate::runtime::server::structured::{Rule, checked_schema};
use crate::runtime::server::tool_calls::{AFTER_ARGUMENTS, BEFORE_ARGUMENTS, BEFORE_NAME, OPEN};

/// Tools of a request at most.
const MOST_TOOLS: usize = 128;
/// Characters of a tool's name.
const MOST_NAME: usize = 64;

/// Which calls an answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// As the model likes.
    Auto,
    /// At least one, and nothing else.
    Required,
    /// One of this tool, and nothing else.
    Named(String),
}

/// A tool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// The schema of its arguments.
    pub parameters: Value,
}

/// The tools that an answer may call; at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tools {
    pub tools: Vec<Tool>,
    pub choice: Choice,
    /// Whether an answer may hold several calls.
    pub parallel: bool,
}

impl Tools {
    /// The tools as templates know them: as the API has them.
    pub fn for_template(&self) -> Vec<Value> {
        let value = |tool: &Tool| {
            let mut function = json!({"name": tool.name});
            if let Some(description) = &tool.description {
                function["description"] = json!(description);
            }
            function["parameters"] = tool.parameters.clone();
            json!({"type": "function", "function": function})
        };
        self.tools.iter().map(value).collect()
    }

    /// What answers must follow: calls of these tools with arguments that are valid, and text around them where the choice is free.
    pub fn rule(&self) -> Rule {
        let all = || self.tools.iter().enumerate();
        let is_callable = |tool: &Tool| !matches!(&self.choice, Choice::Named(name) if *name != tool.name);
        let names: Vec<String> =
            all().filter(|(_, tool)| is_callable(tool)).map(|(index, _)| format!("tool{index}")).collect();
        let mut grammar = match (&self.choice, self.parallel) {
            (Choice::Auto, true) => "start: (free_text call)* TEXT\n".to_owned(),
            (Choice::Auto, false) => "start: TEXT | free_text call\n".to_owned(),
            (Choice::Required, true) => format!("start: {0} call (\"\\n\" {0} call)*\n", literal(OPEN)),
            (Choice::Required, false) | (Choice::Named(_), _) => format!("start: {} call\n", literal(OPEN)),
        };
        grammar += &format!("call: {}\n", names.join(" | "));
        for (index, tool) in all().filter(|(_, tool)| is_callable(tool)) {
            let before = literal(&format!("{BEFORE_NAME}{}{BEFORE_ARGUMENTS}", tool.name));
            let schema = with_space(&tool.parameters);
            grammar += &format!("tool{index}: {before} %json {schema} {}\n", literal(AFTER_ARGUMENTS));
        }
        if self.choice == Choice::Auto {
            grammar += &format!("free_text[lazy]: /(.|\\n)*{OPEN}/\nTEXT: /(.|\\n)*/\n");
        }
        Rule { grammar: Grammar::Lark(grammar), param: "tools".to_owned() }
    }
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls` of a chat; none where no tool may be called.
pub(super) fn read(fields: &mut Fields) -> Result<Option<Tools>, ApiError> {
    let parallel = fields.convert("parallel_tool_calls", "true or false", Value::as_bool)?.unwrap_or(true);
    let tools = tools(fields)?;
    let choice = match fields.take("tool_choice") {
        None => Some(Choice::Auto),
        Some(Value::String(word)) if word == "auto" => Some(Choice::Auto),
        Some(Value::String(word)) if word == "none" => None,
        Some(Value::String(word)) if word == "required" => Some(Choice::Required),
        Some(value @ Value::Object(_)) => {
            let mut choice = Fields::of_value(value, "tool_choice")?;
            function_type(&mut choice)?;
            let mut function = Fields::of_value(choice.needed("function")?, "tool_choice.function")?;
            let name = name(&mut function)?;
            function.finish()?;
            choice.finish()?;
            Some(Choice::Named(name))
        }
        Some(other) => {
            let what = "`auto`, `none`, `required` or {\"type\": \"function\", \"function\": {\"name\": …}}";
            let message = format!("`tool_choice` must be {what}, and is {other}");
            return Err(ApiError::param("tool_choice", message).with_code("invalid_value"));
        }
    };
    checked(tools, choice, parallel)
}

/// The tools, if any may be called; what is chosen must be there.
pub(super) fn checked(
    tools: Vec<Tool>,
    choice: Option<Choice>,
    parallel: bool,
) -> Result<Option<Tools>, ApiError> {
    let Some(choice) = choice else { return Ok(None) };
    let is_there = match &choice {
        Choice::Auto => true,
        Choice::Required => !tools.is_empty(),
        Choice::Named(name) => tools.iter().any(|tool| tool.name == *name),
    };
    if !is_there {
        let message = "`tool_choice` asks for a tool that is not among `tools`";
        return Err(ApiError::param("tool_choice", message).with_code("invalid_value"));
    }
    Ok((!tools.is_empty()).then_some(Tools { tools, choice, parallel }))
}

fn tools(fields: &mut Fields) -> Result<Vec<Tool>, ApiError> {
    let values = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(values)) if values.len() <= MOST_TOOLS => values,
        Some(other) => {
            return Err(wrong_type("tools", &format!("a list of up to {MOST_TOOLS} tools"), &other));
        }
    };
    let mut tools: Vec<Tool> = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let mut fields = Fields::of_value(value, &format!("tools[{index}]"))?;
        function_type(&mut fields)?;
        let mut function = Fields::of_value(fields.needed("function")?, &fields.name("function"))?;
        fields.finish()?;
        let tool = tool(&mut function, "parameters")?;
        function.boolean("strict")?;
        function.finish()?;
        add(&mut tools, tool, &format!("tools[{index}].function.name"))?;
    }
    Ok(tools)
}

/// Reads name, description and the schema of the arguments.
pub(super) fn tool(fields: &mut Fields, schema: &str) -> Result<Tool, ApiError> {
    let param = fields.name(schema);
    let parameters = fields.take(schema).unwrap_or_else(|| json!({}));
    let mut parameters = checked_schema(parameters, &param)?;
    match parameters.as_object_mut() {
        Some(map) if map.is_empty() => parameters = no_arguments(),
        Some(map) => drop(map.entry("type").or_insert_with(|| json!("object"))),
        None => {}
    }
    if parameters["type"] != "object" {
        let message = format!("`{param}` must be the schema of an object");
        return Err(ApiError::param(param, message).with_code("invalid_value"));
    }
    Ok(Tool { name: name(fields)?, description: fields.string("description")?, parameters })
}

/// The schema of a tool without parameters.
fn no_arguments() -> Value {
    json!({"type": "object", "properties": {}, "additionalProperties": false})
}

/// Adds a tool whose name must be new.
pub(super) fn add(tools: &mut Vec<Tool>, tool: Tool, param: &str) -> Result<(), ApiError> {
    if tools.iter().any(|known| known.name == tool.name) {
        let message = format!("`{param}` is `{}`, and so is another tool's", tool.name);
        return Err(ApiError::param(param, message).with_code("invalid_value"));
    }
    tools.push(tool);
    Ok(())
}

fn function_type(fields: &mut Fields) -> Result<(), ApiError> {
    let kind = fields.needed("type")?;
    if kind != "function" {
        let name = fields.name("type");
        let message = format!("`{name}` must be \"function\", and is {kind}");
        return Err(ApiError::param(name, message).with_code("unsupported_parameter"));
    }
    Ok(())
}

fn name(fields: &mut Fields) -> Result<String, ApiError> {
    let value = fields.needed("name")?;
    let is_name = |name: &&str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(is_allowed)
    };
    value.as_str().filter(is_name).map(str::to_owned).ok_or_else(|| {
        let param = fields.name("name");
        let what = format!("1 to {MOST_NAME} letters, digits, `_` and `-`");
        ApiError::param(param.as_str(), format!("`{param}` must be {what}, and is {value}"))
            .with_code("invalid_value")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::guide::{Guide, Next, Vocabulary};
    use crate::runtime::tests::{SPEC, tokenizer};
    use crate::runtime::tokenizer::Tokenizer;

    /// Ends an answer.
    const END: u32 = 129;

    fn tools(choice: Choice, parallel: bool) -> Tools {
        let schema = json!({"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"],
            "additionalProperties": false});
        let tool = |name: &str| Tool { name: name.into(), description: None, parameters: schema.clone() };
        Tools { tools: vec![tool("add"), tool("and")], choice, parallel }
    }

    /// What may follow a text: characters, and `$` where the answer may end. None if the text itself cannot come.
    fn after(tools: &Tools, text: &str) -> Option<String> {
        let tokenizer = Tokenizer::from_bytes(tokenizer().to_string().as_bytes()).unwrap();
        let vocabulary = Vocabulary::new(&tokenizer, SPEC.vocab).unwrap();
        let mut guide: Guide = vocabulary.guide(&tools.rule().grammar).unwrap();
        for byte in text.bytes() {
            guide.accept(u32::from(byte)).ok()?;
        }
        let mut logits = vec![0.0; SPEC.vocab];
        if guide.restrict(&mut logits, &[END]).unwrap() == Next::End {
            return Some("$".to_owned());
        }
        let is_left = |token: &u32| logits[*token as usize] == 0.0;
        let spell = |token: u32| if token == END { '$' } else { char::from(token as u8) };
        Some((0..=END).filter(is_left).map(spell).collect())
    }

    #[test]
    fn a_required_call_is_forced_from_the_first_character() {
        let one = tools(Choice::Required, false);
        assert_eq!(after(&one, "").as_deref(), Some("<"));
        assert_eq!(after(&one, "<tool_call>\n{\"name\": \"a").as_deref(), Some("dn"));
        let call = "<tool_call>\n{\"name\": \"and\", \"arguments\": {\"n\": 2}}\n</tool_call>";
        assert_eq!(after(&one, call).as_deref(), Some("$"));
        assert_eq!(after(&one, &call.replace('2', "3")), None);
        let several = tools(Choice::Required, true);
        assert_eq!(after(&several, call).as_deref(), Some("\n$"));
        assert_eq!(after(&several, &format!("{call}\n{call}")).as_deref(), Some("\n$"));
        let named = tools(Choice::Named("add".into()), true);
        assert_eq!(after(&named, "<tool_call>\n{\"name\": \"a").as_deref(), Some("d"));
        assert_eq!(after(&named, &call.replace("and", "add")).as_deref(), Some("$"));
    }

    #[test]
    fn a_free_choice_is_bound_from_the_tag_on() {
        for parallel in [false, true] {
            let free = tools(Choice::Auto, parallel);
            let any = after(&free, "").unwrap();
            assert!(any.len() > 100 && any.contains('$'), "{any}");
            assert!(after(&free, "Let me see <tool_cal").unwrap().len() > 100);
            assert_eq!(after(&free, "Let me see <tool_call>").as_deref(), Some("\n"));
            assert_eq!(
                after(&free, "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"n\": ").as_deref(),
                Some("12")
            );
            let call = "Well: <tool_call>\n{\"name\": \"add\", \"arguments\": {\"n\": 1}}\n</tool_call>";
            let then = after(&free, call).unwrap();
            assert_eq!(then == "$", !parallel, "{then}");
            if parallel {
                assert_eq!(after(&free, &format!("{call}\n<tool_call>")).as_deref(), Some("\n"));
            }
        }
    }
}
