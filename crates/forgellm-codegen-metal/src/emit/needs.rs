//! What a program's kernel source must hold.

use forgellm_frontend::ir::Op;
use forgellm_plan::{Plan, Step, WeightRef};

use crate::device::attention::attention_needs;
use crate::device::elementwise::elementwise_needs;
use crate::device::embed::embed_needs;
use crate::device::format::FormatInfo;
use crate::device::head::top_needs;
use crate::device::kernels::KernelNeeds;
use crate::device::linear::linear_needs;
use crate::device::norm::rms_norm_needs;
use crate::device::qkv::qkv_needs;
use crate::device::rope::rope_needs;
use crate::device::rows::rows_needs;
use crate::pack::format_of;

/// The kernels that the plan's steps can ask for, whatever the rows of a step.
pub(crate) fn kernel_needs(plan: &Plan) -> KernelNeeds {
    let outer = |weight: &WeightRef| format_of(plan.weights[weight.0].dtype);
    let mut needs = top_needs();
    for step in plan.prologue.iter().chain(&plan.epilogue).chain(&plan.head) {
        needs = needs.and(step_needs(step, &outer));
    }
    for kind in &plan.kinds {
        for step in &kind.steps {
            needs = needs.and(step_needs(step, &|weight| format_of(kind.slots[weight.0].dtype)));
        }
    }
    needs
}

fn step_needs(step: &Step, format: &dyn Fn(&WeightRef) -> &'static FormatInfo) -> KernelNeeds {
    match &step.op {
        Op::Embed { table, .. } => embed_needs(format(table)),
        Op::RmsNorm { .. } => rms_norm_needs(),
        Op::Linear(linear) => {
            let formats: Vec<&FormatInfo> = linear.parts.iter().map(|part| format(&part.weight)).collect();
            linear_needs(&formats)
        }
        Op::Slice { .. } | Op::SelectWanted => rows_needs(),
        Op::QkvRope(fused) => {
            let formats: Vec<&'static FormatInfo> = fused
                .projection
                .iter()
                .flat_map(|projection| &projection.parts)
                .map(|part| format(&part.weight))
                .collect();
            match formats[..] {
                [q, k, v] => qkv_needs([q, k, v]).and(linear_needs(&formats)).and(rope_needs()),
                _ => rope_needs(),
            }
        }
        Op::Rope(_) | Op::KvWrite { .. } => rope_needs(),
        Op::Attention(attention) => attention_needs(attention.head_dim),
        Op::Activation(_) | Op::Add | Op::Mul | Op::Scale { .. } | Op::Softcap { .. } => elementwise_needs(),
    }
}
