import type { JsonAttribute, JsonNode, Weight } from "../backend/graph-def.js";
import { graphDef } from "../backend/graph-def.js";
import type { Slot } from "../heads/head-blocks.js";

/** A trained array of a bank of which SGD is the optimizer. */
export interface NamedParameter {
  /** Of its slots, without their own. */
  name: string;
  /** Position among all blocks, and in the block. */
  block: number;
  position: number;
  momentum: number;
  nesterov: boolean;
}

/** The nodes of a bank's steps beside those that are recorded. Methods give the names of what they wrote. */
export class StepNodes {
  private readonly nodes: JsonNode[] = [];
  private readonly weights = new Map<string, Weight>();

  add(nodes: JsonNode[], weights: ReadonlyMap<string, Weight>): void {
    this.nodes.push(...nodes);
    weights.forEach((weight, name) => this.weights.set(name, weight));
  }

  written(): Buffer {
    return graphDef({ nodes: this.nodes, weight: (name) => this.weights.get(name) });
  }

  placeholder(name: string, shape?: number[]): string {
    const known = shape ? { dim: shape.map((size) => ({ size })) } : { unknownRank: true };
    return this.node(name, "Placeholder", [], { dtype: float, shape: { shape: known } });
  }

  /** A variable with what reads it, and what it is given; @returns the latter. */
  variable({ name, get }: Slot): string {
    this.handle(name, get().shape);
    this.node(`${name}/read`, "ReadVariableOp", [name], { dtype: float });
    return this.assign(`${name}/assign`, name, this.placeholder(`${name}/given`, get().shape));
  }

  /** What a step reads of a parameter, when the step has moved those others. */
  read(step: string, parameter: string, after: NamedParameter[]): string {
    const moved = control(after.map(({ name }) => `${step}/${name}/update`));
    return this.node(`${step}/${parameter}/read`, "ReadVariableOp", [`${parameter}.value`, ...moved], { dtype: float });
  }

  assign(name: string, variable: string, value: string): string {
    return this.node(name, "AssignVariableOp", [variable, value], { dtype: float });
  }

  /** p ← p·η′/η */
  rescale(parameter: string, change: string): string {
    const variable = `${parameter}.momentum`;
    const scaled = this.node(`${variable}/scaled`, "Mul", [`${variable}/read`, change], { T: float });
    return this.assign(`${variable}/rescale`, variable, scaled);
  }

  /** q ← −η∇ − ηλ·w, then p ← μ·p + q and w ← w + q + μ·p (Nesterov) or w + p, all in place: see `nativeMomentum`. */
  update(options: {
    step: string;
    parameter: NamedParameter;
    gradient: string;
    /** −ηλ. */
    decay?: string;
    /** Whether that is one number. */
    one: boolean;
  }): string {
    const { step, parameter, gradient, decay, one } = options;
    const { name, momentum, nesterov } = parameter;
    const at = `${step}/${name}`;
    const move = decay ? this.decayed({ at, gradient, decay, one }) : gradient;
    const input = [`${name}.value`, `${name}.momentum`, this.number(-1), move, this.number(momentum)];
    const update = this.node(`${at}/update`, "ResourceApplyKerasMomentum", input, { T: float, use_nesterov: { b: nesterov } }); // prettier-ignore
    // Else the gradient's memory would be held until the next step.
    return decay ? this.node(`${at}/move/end`, "DestroyResourceOp", [`${at}/move`, ...control([update])], {}) : update;
  }

  /** A tensor that is there when all these have run. */
  done(name: string, after: string[]): string {
    return this.node(`${name}/done`, "Identity", [this.number(0), ...control(after)], { T: float });
  }

  private decayed(options: { at: string; gradient: string; decay: string; one: boolean }): string {
    const { at, gradient, decay, one } = options;
    const move = this.handle(`${at}/move`);
    const given = this.assign(`${at}/move/assign`, move, gradient);
    const value = `${at}/read`;
    let added: string;
    if (one) {
      const scalar = this.node(`${at}/decay`, "Reshape", [decay, this.constant("scalar", { shape: [0], dtype: "int32", data: new Int32Array() })], { T: float, Tshape: { type: "DT_INT32" } }); // prettier-ignore
      const negative = this.node(`${at}/decay/negative`, "Neg", [scalar], { T: float });
      added = this.node(`${at}/move/add`, "ResourceApplyGradientDescent", [move, negative, value, ...control([given])], { T: float }); // prettier-ignore
    } else {
      const product = this.node(`${at}/decay`, "Mul", [value, decay], { T: float });
      added = this.node(`${at}/move/add`, "AssignAddVariableOp", [move, product, ...control([given])], { dtype: float }); // prettier-ignore
    }
    return this.node(`${at}/move/read`, "ReadVariableOp", [move, ...control([added])], { dtype: float });
  }

  private handle(name: string, shape?: number[]): string {
    const known = shape ? { dim: shape.map((size) => ({ size })) } : { unknownRank: true };
    const shared_name = { s: Buffer.from(name).toString("base64") };
    return this.node(name, "VarHandleOp", [], { container: { s: "" }, shared_name, dtype: float, shape: { shape: known } }); // prettier-ignore
  }

  private number(value: number): string {
    return this.constant(`number${value}`, { shape: [], dtype: "float32", data: Float32Array.of(value) });
  }

  private constant(name: string, weight: Weight): string {
    if (this.weights.has(name)) return name;
    this.weights.set(name, weight);
    const type = weight.dtype === "int32" ? "DT_INT32" : "DT_FLOAT";
    return this.node(name, "Const", [], { dtype: { type }, value: { tensor: null } });
  }

  private node(name: string, op: string, input: string[], attr: Record<string, JsonAttribute>): string {
    this.nodes.push({ name, op, input, attr });
    return name;
  }
}

const float: JsonAttribute = { type: "DT_FLOAT" };

function control(after: string[]): string[] {
  return after.map((name) => `^${name}`);
}
