//! Function constants, and program-scope constants computed from them.

use super::Translator;
use super::declarations::Declaration;
use super::error::TranslateError;
use super::lexer::{Kind, Token};
use super::{FunctionConstant, attributes};

/// What a text declares as function constants.
#[derive(Debug, Default)]
pub(super) struct Constants {
    pub declared: Vec<FunctionConstant>,
    /// Names of constants whose value depends on a function constant.
    derived: Vec<String>,
    /// C++ statements that compute them, as calls of functions in their own scopes.
    refresh: Vec<String>,
}

impl Constants {
    pub fn any_derived(&self) -> bool {
        !self.derived.is_empty()
    }

    fn depends(&self, tokens: &[Token<'_>]) -> bool {
        tokens.iter().any(|t| {
            t.kind == Kind::Identifier
                && (self.declared.iter().any(|c| c.name == t.text)
                    || self.derived.iter().any(|d| d == t.text))
        })
    }
}

impl<'t> Translator<'t> {
    /// A variable at program scope.
    pub(super) fn variable(&mut self, declaration: Declaration, head: usize) -> Result<(), TranslateError> {
        let tokens: &'t [Token<'t>] = &self.tokens.all;
        let end = declaration.end - 1;
        let list_at = (head..end).find(|&i| {
            attributes::starts(tokens, i)
                && attributes::list(tokens, i)
                    .is_some_and(|(l, _)| l.iter().any(|a| a.name == "function_constant"))
        });
        if let Some(list_at) = list_at {
            return self.function_constant(head, list_at, end);
        }
        let Some(assign) = (head..end).find(|&i| tokens[i].is("=") || tokens[i].is("{")) else {
            return Ok(());
        };
        if !(head..assign).any(|i| tokens[i].is("constant")) || !self.constants.depends(&tokens[assign..end])
        {
            return Ok(());
        }
        self.derived_constant(head, assign, end)
    }

    /// `constant T NAME [[function_constant(i)]];`
    fn function_constant(&mut self, head: usize, list_at: usize, end: usize) -> Result<(), TranslateError> {
        let tokens: &'t [Token<'t>] = &self.tokens.all;
        let (name, ty) = self.name_and_type(head, list_at)?;
        let Some((list, _)) = attributes::list(tokens, list_at) else {
            return self.syntax_at(list_at, "an attribute list does not end with `]]`");
        };
        let index = list.iter().find(|a| a.name == "function_constant").and_then(|a| a.number());
        let Some(index) = index else {
            return self.syntax_at(list_at, "`function_constant` needs a number as its index");
        };
        let at = self.tokens.position(head);
        if self.constants.declared.iter().any(|c| c.index == index) {
            return Err(TranslateError::Twice { at, what: format!("function constant {index}") });
        }
        self.edits.remove(head, end);
        self.edits.replace(
            head,
            format!(
                "extern \"C\" {{ MS_EXPORT {ty} ms_constant_{index}; MS_EXPORT bool ms_constant_set_{index}; }} \
                 static constexpr const {ty} &{name} = ms_constant_{index}"
            ),
        );
        self.constants.declared.push(FunctionConstant { index, name, ty, at });
        Ok(())
    }

    /// `constant T NAME = …;` with a function constant in its value: computed after those are set.
    fn derived_constant(&mut self, head: usize, assign: usize, end: usize) -> Result<(), TranslateError> {
        let tokens = &self.tokens.all;
        if (head..assign).any(|i| tokens[i].is("[") || tokens[i].is("constexpr")) {
            return Err(TranslateError::Unsupported {
                at: self.tokens.position(head),
                construct: "an array or constexpr computed from a function constant".into(),
                reason: "its value is not known when the text is compiled: use a scalar `constant`",
            });
        }
        let (name, ty) = self.name_and_type(head, assign)?;
        let number = self.constants.derived.len();
        self.edits.remove(head, assign);
        self.edits.replace(
            head,
            format!(
                "static {ty} ms_derived_{number}; static constexpr const {ty} &{name} = ms_derived_{number}; \
                 extern \"C\" void ms_refresh_{number}() {{ const {ty} ms_value"
            ),
        );
        self.edits.after(end, &format!(" ms_derived_{number} = ms_value; }}"));
        self.constants.derived.push(name);
        self.constants.refresh.push(format!("ms_refresh_{number}();"));
        Ok(())
    }

    /// The name (the last word of `from..to`) and the type before it, without `constant` and the like.
    fn name_and_type(&self, from: usize, to: usize) -> Result<(String, String), TranslateError> {
        let tokens = &self.tokens.all;
        if to < from + 2 || tokens[to - 1].kind != Kind::Identifier {
            return self.syntax_at(from, "a constant needs a type and a name");
        }
        let ty: Vec<&str> = tokens[from..to - 1]
            .iter()
            .map(|t| t.text)
            .filter(|t| !matches!(*t, "constant" | "const" | "static" | "inline" | "constexpr"))
            .collect();
        Ok((tokens[to - 1].text.to_string(), ty.join(" ")))
    }

    /// Replaces `is_function_constant_defined(NAME)` and ends the text with what refreshes derived constants.
    pub(super) fn finish_constants(&mut self) {
        let tokens = &self.tokens.all;
        for i in 0..tokens.len().saturating_sub(3) {
            if !(tokens[i].is("is_function_constant_defined")
                && tokens[i + 1].is("(")
                && tokens[i + 3].is(")"))
            {
                continue;
            }
            if let Some(c) = self.constants.declared.iter().find(|c| c.name == tokens[i + 2].text) {
                let flag = format!("ms_constant_set_{}", c.index);
                self.edits.remove(i, i + 4);
                self.edits.replace(i, flag);
            }
        }
        if self.constants.any_derived() {
            let statements = self.constants.refresh.join(" ");
            let declarations: String =
                (0..self.constants.derived.len()).map(|n| format!("void ms_refresh_{n}(); ")).collect();
            self.edits.at_end(&format!(
                "extern \"C\" {{ {declarations}MS_EXPORT void ms_constants_changed() {{ {statements} }} }}\n"
            ));
        }
    }
}
