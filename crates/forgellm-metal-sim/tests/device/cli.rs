//! The command `metal-sim`, on real files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn metal_sim(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metal-sim"))
        .args(arguments)
        .current_dir(folder)
        .env("FORGELLM_METAL_CACHE", PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("metal-sim"))
        .output()
        .unwrap()
}

/// A folder with one of the tests' kernels in it.
fn folder(kernel: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let name = kernel.rsplit('/').next().unwrap();
    std::fs::write(folder.path().join(name), crate::text(kernel)).unwrap();
    folder
}

/// The bytes that `numpy.save` writes.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SUM: [&str; 16] = [
    "run",
    "reductions.metal",
    "--kernel",
    "sum",
    "--grid",
    "2",
    "--threads",
    "64",
    "--buffer",
    "0=x.npy",
    "--buffer",
    "1=y:f32[2]",
    "--bytes",
    "2=u32:6",
    "--threadgroup-memory",
    "0=128",
];

#[test]
fn arrays_go_in_and_come_out() {
    let folder = folder("kernels/reductions.metal");
    let x: Vec<f32> = (1..=12).map(|i| i as f32).collect();
    std::fs::write(folder.path().join("x.npy"), npy("<f4", "(2, 6)", &floats(&x))).unwrap();
    let output = metal_sim(folder.path(), &SUM);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    assert!(text_of(&output.stdout).contains("wrote y.npy"));
    let written = std::fs::read(folder.path().join("y.npy")).unwrap();
    assert_eq!(written, npy("<f4", "(2,)", &floats(&[21.0, 57.0])));
}

#[test]
fn a_buffer_goes_in_and_out() {
    let folder = folder("kernels/constants.metal");
    std::fs::write(folder.path().join("x.npy"), npy("<f4", "(3,)", &floats(&[1.0, 2.0, 3.0]))).unwrap();
    let arguments = [
        "run",
        "constants.metal",
        "--kernel",
        "scale",
        "--threads",
        "3",
        "--buffer",
        "0=x.npy",
        "--buffer",
        "1=x.npy=>z.npy",
        "--constant",
        "0=u32:2",
        "--constant",
        "1=bool:true",
        "--sanitize",
        "--count",
        "--report",
        "json",
    ];
    let output = metal_sim(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    let written = std::fs::read(folder.path().join("z.npy")).unwrap();
    assert_eq!(written, npy("<f4", "(3,)", &floats(&[-4.0, -8.0, -12.0])));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["written"][0], "z.npy");
    assert_eq!(report["findings"].as_array().unwrap().len(), 0);
    assert_eq!(report["counts"][0]["device_bytes_stored"], 12);
}

#[test]
fn findings_have_their_own_status_and_write_nothing() {
    let folder = folder("faulty/out_of_bounds_load.metal");
    let arguments = [
        "run",
        "out_of_bounds_load.metal",
        "--kernel",
        "faulty",
        "--threads",
        "8",
        "--buffer",
        "0=f32[8]",
        "--buffer",
        "1=y:f32[8]",
        "--sanitize",
    ];
    let output = metal_sim(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(3));
    let text = text_of(&output.stdout);
    assert!(text.contains("out of bounds: byte 32 of buffer 0"), "{text}");
    assert!(text.contains("out_of_bounds_load.metal:7: load of 4 bytes by thread (7, 0, 0)"), "{text}");
    assert!(!folder.path().join("y.npy").exists());
    let output = metal_sim(folder.path(), &[&arguments[..], &["--report", "json"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(finding["kind"], "out-of-bounds");
    assert_eq!(finding["access"]["line"], 7);
    assert_eq!(finding["memory"]["space"], "buffer");
    assert_eq!(finding["memory"]["offset"], 32);
}

#[test]
fn further_orders_are_compared() {
    let folder = folder("faulty/order_dependent.metal");
    let arguments =
        ["run", "order_dependent.metal", "--threads", "64", "--buffer", "0=u32[1]", "--seeds", "3"];
    let go = |kernel| metal_sim(folder.path(), &[&arguments[..], &["--kernel", kernel]].concat());
    assert_eq!(go("corrected").status.code(), Some(0));
    let output = go("faulty");
    assert_eq!(output.status.code(), Some(3));
    assert!(text_of(&output.stdout).contains("depends on the order of threads"));
}

#[test]
fn errors_name_the_flag() {
    let folder = folder("kernels/reductions.metal");
    std::fs::write(folder.path().join("x.npy"), npy("<f8", "(1,)", &[0; 8])).unwrap();
    let failing = |arguments: &[&str], status: i32, expected: &str| {
        let output = metal_sim(folder.path(), &[&SUM[..], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        let text = text_of(&output.stderr);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    };
    failing(&[], 1, "--buffer 0: x.npy cannot be used: its numbers are of type <f8");
    std::fs::write(folder.path().join("x.npy"), npy("<f4", "(1,)", &[0; 4])).unwrap();
    failing(&["--buffer", "4=none.npy"], 1, "--buffer 4: cannot read none.npy");
    failing(&["--buffer", "4=f32[1]", "--strict"], 1, "--strict: there are warnings");
    failing(
        &["--constant", "0=u32:1"],
        1,
        "--constant: kernel 'sum' of reductions.metal: function constant 0",
    );
    failing(&["--threadgroup-memory", "0=5"], 1, "--threadgroup-memory: commands 'run'");
    failing(&["--bytes", "2=u9:1"], 2, "--bytes");
    failing(&["--constant", "x"], 2, "--constant");
    failing(&["--nonsense"], 2, "--nonsense");
    let output = metal_sim(folder.path(), &["run", "reductions.metal", "--kernel", "none"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text_of(&output.stderr);
    assert!(text.contains("--kernel: reductions.metal has no kernel 'none'; it has: sum, tree"), "{text}");
    let output = metal_sim(folder.path(), &["list", "missing.metal"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stderr).contains("cannot read missing.metal"));
}

#[test]
fn kernels_are_listed() {
    let folder = folder("kernels/constants.metal");
    let output = metal_sim(folder.path(), &["list", "constants.metal"]);
    assert_eq!(
        text_of(&output.stdout),
        "scale (constants.metal:11)\n    \
         buffer 0: device const float *x\n    \
         buffer 1: device float *y\n    \
         thread_position_in_grid: i\n\
         function constant 0: uint factor\n\
         function constant 1: bool negate\n\
         function constant 2: float offset\n"
    );
    let output = metal_sim(folder.path(), &["list", "constants.metal", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["kernels"][0]["parameters"][1]["writable"], true);
    assert_eq!(list["function_constants"][2]["name"], "offset");
}

#[test]
fn includes_are_found_beside_the_file_and_in_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("shared")).unwrap();
    write("shared/three.h", "constant float three = 3;\n");
    write("two.h", "constant float two = 2;\n");
    let kernel = "#include \"two.h\"\n#include <three.h>\nkernel void six(device float *x [[buffer(0)]]) { x[0] = two * three; }\n";
    write("six.metal", kernel);
    let arguments = ["run", "six.metal", "--kernel", "six", "--buffer", "0=x:f32[1]"];
    let output = metal_sim(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output.stderr).contains("three.h"), "{}", text_of(&output.stderr));
    let output = metal_sim(folder.path(), &[&arguments[..], &["--include", "shared"]].concat());
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    assert_eq!(std::fs::read(folder.path().join("x.npy")).unwrap(), npy("<f4", "(1,)", &floats(&[6.0])));
}
