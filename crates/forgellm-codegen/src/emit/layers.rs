//! The kinds of layers: a table of weights and a function each.

use forgellm_plan::{Plan, WeightRef};

use super::Dialect;
use super::calls::steps;
use super::fields::slot_field;
use super::model::Used;
use crate::RustWriter;

/// The weights of a kind of layer, and its function.
pub(super) fn layer_kind(
    w: &mut RustWriter,
    plan: &Plan,
    number: usize,
    dialect: &dyn Dialect,
    used: &mut Used,
) {
    let kind = &plan.kinds[number];
    let members: Vec<usize> =
        (0..plan.layers.len()).filter(|layer| plan.layers[*layer].kind == number).collect();
    let list = ranges(&members);
    w.gap();
    w.line(format!("/// Weights of layers {list}."));
    w.block(format!("struct {}", kind_type(number)), |w| {
        for slot in 0..kind.slots.len() {
            let field = slot_field(kind, slot);
            w.line(format!("{}: {},", field.name, field.rust_type(dialect, used)));
        }
    });
    w.gap();
    w.block(format!("impl {}", kind_type(number)), |w| {
        let head = format!(
            "fn bind(weights: {}, layer: usize) -> Result<{}, OpenError>",
            dialect.weights(),
            kind_type(number)
        );
        w.block(head, |w| {
            w.enclosed(format!("Ok({}", kind_type(number)), " {", "})", |w| {
                for slot in 0..kind.slots.len() {
                    let name = slot_expression(plan, &members, slot);
                    slot_field(kind, slot).bind(w, name);
                }
            });
        });
    });
    w.gap();
    w.line(format!("/// Layers {list}."));
    let head =
        format!("fn {}(run: &Run<'_>, layer: &{}, cache: usize)", kind_function(number), kind_type(number));
    w.block(head, |w| {
        let name = |weight: WeightRef| format!("layer.{}", kind.slots[weight.0].name);
        steps(w, plan, &kind.steps, &name, used);
    });
}

/// `[0, 1, 2, 5]` → `0-2, 5`.
fn ranges(numbers: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// An expression for the name of a layer's weight, in terms of `layer`.
fn slot_expression(plan: &Plan, members: &[usize], slot: usize) -> String {
    let names: Vec<&str> =
        members.iter().map(|layer| plan.weights[plan.layers[*layer].weights[slot].0].name.as_str()).collect();
    if names.windows(2).all(|pair| pair[0] == pair[1]) && !names[0].starts_with("blk.") {
        return format!("{:?}", names[0]);
    }
    // Whether all are named after the layer that is so far behind.
    let regular = |behind: usize| {
        let suffix = |layer: &usize, name: &&str| {
            name.strip_prefix(&format!("blk.{}.", layer.checked_sub(behind)?)).map(str::to_owned)
        };
        let mut suffixes = members.iter().zip(&names).map(|(layer, name)| suffix(layer, name));
        let first = suffixes.next().flatten()?;
        suffixes.all(|suffix| suffix.as_ref() == Some(&first)).then_some(first)
    };
    if let Some(suffix) = regular(0) {
        return format!("&format!(\"blk.{{layer}}.{suffix}\")");
    }
    if let Some(suffix) = regular(1) {
        return format!("&format!(\"blk.{{}}.{suffix}\", layer - 1)");
    }
    let arms: Vec<String> =
        members.iter().zip(&names).map(|(layer, name)| format!("{layer} => {name:?}")).collect();
    format!("match layer {{ {}, _ => \"\" }}", arms.join(", "))
}

/// Name of the type of a layer's weights: `LayerA`.
pub(super) fn kind_type(number: usize) -> String {
    format!("Layer{}", kind_letters(number).to_uppercase())
}

/// Name of the function of a layer: `layer_a`.
pub(super) fn kind_function(number: usize) -> String {
    format!("layer_{}", kind_letters(number))
}

/// 0 → a, 25 → z, 26 → aa.
pub(super) fn kind_letters(number: usize) -> String {
    let letter = char::from(b'a' + (number % 26) as u8);
    match number / 26 {
        0 => letter.to_string(),
        rest => format!("{}{letter}", kind_letters(rest - 1)),
    }
}
