import { cudaWheels, requirementsOfExtra, satisfies, tensorflowWheel } from "../../lib/backend/tensorflow-wheels.js";
import { type LocalServer, serve } from "../downloads/server.js";

/** Lines of the METADATA of tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl. */
const metadata = `Requires-Dist: h5py<3.15.0,>=3.11.0
Provides-Extra: and-cuda
Requires-Dist: nvidia-cublas-cu12<13.0,>=12.5.3.2; extra == "and-cuda"
Requires-Dist: nvidia-cudnn-cu12<10.0,>=9.3.0.75; extra == "and-cuda"
Provides-Extra: gcs-filesystem
Requires-Dist: tensorflow-io-gcs-filesystem>=0.23.1; (sys_platform != "win32" and python_version < "3.13") and extra == "gcs-filesystem"
`;

describe("the wheels of TensorFlow", () => {
  test("are known for Linux on both kinds of processor", () => {
    expect(tensorflowWheel({ cuda: false, platform: "linux", arch: "x64" }).filename).toMatch(/_cpu-.*x86_64/);
    expect(tensorflowWheel({ cuda: false, platform: "linux", arch: "arm64" }).filename).toMatch(/aarch64/);
    expect(tensorflowWheel({ cuda: true, platform: "linux", arch: "x64" }).project).toBe("tensorflow");
  });

  test.each([
    [false, "win32", "x64", "this is win32 on x64"],
    [false, "linux", "riscv64", "this is linux on riscv64"],
    [true, "linux", "arm64", "Expected Linux on x86-64 to set up native TensorFlow with CUDA"],
  ])("say where there is none (cuda %s, %s, %s)", (cuda, platform, arch, message) => {
    expect(() => tensorflowWheel({ cuda, platform, arch })).toThrow(message);
  });

  test("name NVIDIA's libraries in an extra", () => {
    expect(requirementsOfExtra(metadata, "and-cuda")).toEqual([
      { project: "nvidia-cublas-cu12", specifiers: ["<13.0", ">=12.5.3.2"] },
      { project: "nvidia-cudnn-cu12", specifiers: ["<10.0", ">=9.3.0.75"] },
    ]);
    expect(requirementsOfExtra(metadata, "none")).toEqual([]);
  });

  test.each([
    ["12.9.1.4", ">=12.5.3.2", true],
    ["12.10.0", ">=12.9", true],
    ["13.0.0.1", "<13.0", false],
    ["13", "<13.0", false],
    ["2.27.7", "==2.27.*", true],
    ["2.270", "==2.27.*", false],
    ["2.27.0", "==2.27", true],
    ["2.27.3", "!=2.27.3", false],
    ["2.28", "~=2.27", true],
    ["3.0", "~=2.27", false],
    ["1.0", "<=1.0", true],
    ["1.0", ">1.0", false],
  ])("%s %s is %s", (version, specifier, expected) => {
    expect(satisfies(version, specifier)).toBe(expected);
  });

  describe("of NVIDIA's libraries", () => {
    const before = process.env.PIP_INDEX_URL;
    let server: LocalServer;
    beforeAll(async () => {
      const page = (names: string[]) => ({
        content: Buffer.from(
          names.map((name, i) => `<a href="/f/${name}#sha256=${`${i}`.repeat(64)}">x</a>`).join("\n"),
        ),
      });
      server = await serve({
        "/simple/nvidia-cublas-cu12/": page([
          "nvidia_cublas_cu12-12.4.0.1-py3-none-manylinux_2_27_x86_64.whl",
          "nvidia_cublas_cu12-12.9.1.4-py3-none-manylinux_2_27_x86_64.whl",
          "nvidia_cublas_cu12-12.10.0.1-py3-none-manylinux2014_x86_64.manylinux_2_27_x86_64.whl",
          "nvidia_cublas_cu12-12.11.0.1-py3-none-manylinux_2_27_aarch64.whl",
          "nvidia_cublas_cu12-12.12.0.1-py3-none-win_amd64.whl",
          "nvidia_cublas_cu12-13.0.0.1-py3-none-manylinux_2_27_x86_64.whl",
          "nvidia-cublas-cu12-12.99.tar.gz",
        ]),
        "/simple/nvidia-cudnn-cu12/": page(["nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl"]),
      });
      process.env.PIP_INDEX_URL = `${server.url}/simple`;
    });
    afterAll(async () => {
      if (before === undefined) delete process.env.PIP_INDEX_URL;
      else process.env.PIP_INDEX_URL = before;
      await server.close();
    });

    test("the newest release that will do is taken, for this kind of processor", async () => {
      const planned = await cudaWheels({ metadata, machine: "x86_64" });
      expect(planned.map(({ filename, sha256 }) => [filename, sha256[0]])).toEqual([
        ["nvidia_cublas_cu12-12.10.0.1-py3-none-manylinux2014_x86_64.manylinux_2_27_x86_64.whl", "2"],
        ["nvidia_cudnn_cu12-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl", "0"],
      ]);
    });

    test("one that is missing is named", async () => {
      await expect(cudaWheels({ metadata, machine: "aarch64" })).rejects.toThrow(
        "Expected a release <10.0, >=9.3.0.75 of nvidia-cudnn-cu12 for Linux on aarch64",
      );
    });
  });
});
