import { UserError } from "../errors.js";
import { filesOf, type IndexedFile } from "../downloads/pypi.js";

/** The TensorFlow that the native backend is built on. */
export const tensorflowVersion = "2.21.0";

/** A wheel with its digest. */
export interface Wheel {
  project: string;
  filename: string;
  sha256: string;
}

/** A kind of processor with TensorFlow for it, as wheels name it. */
export type Machine = "x86_64" | "aarch64";

// The C library in a wheel is the same for each Python; any one does.
const pinned: Record<"cpu" | "cuda", Partial<Record<Machine, Wheel>>> = {
  cpu: {
    x86_64: {
      project: "tensorflow-cpu",
      filename: "tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl",
      sha256: "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c",
    },
    aarch64: {
      project: "tensorflow",
      filename: "tensorflow-2.21.0-cp311-cp311-manylinux_2_27_aarch64.whl",
      sha256: "4b24aca16d527a3cf1c37f720c04c484c3d20f4d0fdfa98632ac8b9f3be6eb5c",
    },
  },
  cuda: {
    x86_64: {
      project: "tensorflow",
      filename: "tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl",
      sha256: "9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124",
    },
  },
};

/**
 * The wheel of TensorFlow's C library for this machine.
 *
 * @throws UserError where there is none.
 */
export function tensorflowWheel(options: { cuda: boolean; platform?: string; arch?: string }): Wheel {
  const { cuda, platform = process.platform, arch = process.arch } = options;
  const machine = machineOf(arch);
  const wheel = platform === "linux" && machine ? pinned[cuda ? "cuda" : "cpu"][machine] : undefined;
  if (wheel) return wheel;
  throw new UserError(
    `Expected Linux on ${cuda ? "x86-64" : "x86-64 or 64-bit ARM"} to set up native TensorFlow${cuda ? " with CUDA" : ""} but this is ${platform} on ${arch}`,
    {
      hint:
        "Install @tensorflow/tfjs-node beside frozen-eval where it has a build for this machine: it is used where it " +
        "works. Without it everything runs on WebAssembly, more slowly.",
    },
  );
}

function machineOf(arch: string): Machine | undefined {
  return ({ x64: "x86_64", arm64: "aarch64" } as Record<string, Machine | undefined>)[arch];
}

/** A project that a wheel requires, with the versions that will do, e.g. `">=12.5.82"` and `"<13.0"`. */
export interface Requirement {
  project: string;
  specifiers: string[];
}

/** What a wheel's METADATA requires for one of its extras, and only for it. */
export function requirementsOfExtra(metadata: string, extra: string): Requirement[] {
  return metadata.split(/\r?\n/).flatMap((line) => {
    const match = /^Requires-Dist:\s*([A-Za-z0-9._-]+)\s*\(?([^;)]*)\)?\s*;\s*(.+)$/.exec(line);
    if (!match) return [];
    const [, project, specifiers, marker] = match;
    const named = /\bextra\s*==\s*["']([^"']+)["']/.exec(marker!)?.[1];
    if (named !== extra) return [];
    return [
      {
        project: project!,
        specifiers: specifiers!
          .split(",")
          .map((text) => text.trim())
          .filter((text) => text !== ""),
      },
    ];
  });
}

/**
 * The wheels of NVIDIA's libraries that a TensorFlow wheel names in its extra `and-cuda`: of each the newest release
 * that will do, as pip would take it, with file and digest from the index.
 *
 * @param metadata the METADATA of the TensorFlow wheel.
 * @throws UserError where the index has none for this kind of machine.
 */
export async function cudaWheels(options: { metadata: string; machine: Machine }): Promise<(Wheel & IndexedFile)[]> {
  const { metadata, machine } = options;
  const requirements = requirementsOfExtra(metadata, "and-cuda").filter(({ project }) => project.startsWith("nvidia-"));
  const wheels: (Wheel & IndexedFile)[] = [];
  for (const { project, specifiers } of requirements) {
    const candidates = (await filesOf(project)).flatMap((file) => {
      const version = wheelVersion(file.filename, machine);
      return version && file.sha256 && specifiers.every((specifier) => satisfies(version, specifier))
        ? [{ ...file, sha256: file.sha256, project, version }]
        : [];
    });
    const newest = candidates.sort((a, b) => compareVersions(b.version, a.version))[0];
    if (!newest) {
      throw new UserError(
        `Expected a release ${specifiers.join(", ")} of ${project} for Linux on ${machine} in the Python package index but there is none`,
        { hint: "Where PIP_INDEX_URL names a mirror, see that it is complete." },
      );
    }
    const { filename, url, sha256 } = newest;
    wheels.push({ project, filename, url, sha256 });
  }
  return wheels;
}

/** The version of a wheel for Linux on `machine` whatever the Python, or undefined for other files and pre-releases. */
function wheelVersion(filename: string, machine: Machine): string | undefined {
  const match = /^[^-]+-(\d+(?:\.\d+)*(?:\.post\d+)?)-(?:\d[^-]*-)?py3-none-(.+)\.whl$/.exec(filename);
  if (!match) return undefined;
  const forMachine = match[2]!.split(".").some((tag) => tag.startsWith("manylinux") && tag.endsWith(machine));
  return forMachine ? match[1] : undefined;
}

/** Whether a release fits one specifier of PEP 440 (`>=12.5`, `<13`, `==1.2.*`, `!=`, `~=`). */
export function satisfies(version: string, specifier: string): boolean {
  const match = /^(>=|<=|==|!=|~=|>|<)\s*([0-9.]+?)(\.\*)?$/.exec(specifier);
  if (!match) throw new Error(`the version specifier ${specifier} is not understood`);
  const [, operator, bound, wildcard] = match;
  const order = compareVersions(version, bound!);
  const same = wildcard ? sharesPrefix(version, bound!) : order === 0;
  switch (operator) {
    case ">=":
      return order >= 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case "<":
      return order < 0;
    case "!=":
      return !same;
    case "~=":
      return order >= 0 && sharesPrefix(version, bound!.split(".").slice(0, -1).join("."));
    default:
      return same;
  }
}

function sharesPrefix(version: string, prefix: string): boolean {
  return `${version}.`.startsWith(`${prefix}.`);
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.replace("post", "").split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
