//! TensorFlow: conversion to its tensors, and the registration of ops.

pub(crate) mod ops;
pub(crate) mod tensorflow;
