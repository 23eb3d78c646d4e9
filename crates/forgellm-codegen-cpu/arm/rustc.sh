#!/usr/bin/env bash
# Compiles our crates with what newer compilers than the distribution's have as stable features.
set -euo pipefail
case " $* " in
    *"--crate-name forgellm_"* | *"--crate-name matrix"* | *"--crate-name device "*)
        features=slice_as_chunks,unsigned_is_multiple_of,let_chains,io_error_more,target_feature_11
        exec "$@" "-Zcrate-attr=feature($features)" -Aunused_features -Astable_features
        ;;
    *) exec "$@" ;;
esac
