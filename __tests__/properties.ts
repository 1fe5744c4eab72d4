import fc from "fast-check";

// Properties are tried on the same examples in every run, so that what fails fails again. Others are tried with
// PROPERTY_SEED=… npm test.
fc.configureGlobal({ seed: Number(process.env.PROPERTY_SEED ?? 20261122) });
