//! Devices, buffers, pipelines, command queues.
