import { existsSync, realpathSync } from "node:fs";
import path from "node:path";

import { chromium } from "../classifiers/chromium.js";

const driver = "vk_swiftshader_icd.json";
const loader = "libvulkan.so.1";

const folder = [chromium && path.dirname(realpathSync(chromium)), "/usr/lib/chromium", "/opt/google/chrome"].find(
  (one) => one !== undefined && existsSync(path.join(one, driver)) && existsSync(path.join(one, loader)),
);

/** Variables with which a process finds the GPU that Chromium has as a program (SwiftShader), and no other. */
export const softwareGpu: Record<string, string> | undefined = folder
  ? { VK_DRIVER_FILES: path.join(folder, driver), LD_LIBRARY_PATH: folder }
  : undefined;

/** Why tests on it are skipped here; undefined where they are not. */
export const noSoftwareGpu = softwareGpu
  ? undefined
  : `no SwiftShader (${driver} and ${loader}) beside chromium; name one with CHROMIUM`;
