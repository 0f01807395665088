import { isTkadmError, TkadmError } from '../../base/errors.ts';
import { type DBusCall, DBusConnection } from './dbus-connection.ts';
import type { DBusValue, DBusVariant } from './dbus-values.ts';

/** A unit's property as systemd's manager takes it, org.freedesktop.systemd1(5): name and value. */
export type UnitProperty = readonly [name: string, value: DBusVariant];

/** Where systemd is spoken to: its own socket, which only root may open, and the bus of the machine. */
const SYSTEMD_SOCKETS = [
  { path: '/run/systemd/private', isBus: false },
  { path: '/run/dbus/system_bus_socket', isBus: true },
] as const;

/** systemd ends what does not stop after 90 s; nothing here should take as long. */
const TIMEOUT_MS = 30_000;
const MANAGER = 'org.freedesktop.systemd1.Manager';
const SYSTEMD = { destination: 'org.freedesktop.systemd1', path: '/org/freedesktop/systemd1' } as const;
const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;
const JOB_RULE = `type='signal',sender='${SYSTEMD.destination}',interface='${MANAGER}',member='JobRemoved'`;
/** A job that takes the place of one that waits. */
const REPLACE = 'replace';
const NO_SUCH_UNIT = 'org.freedesktop.systemd1.NoSuchUnit';
const UNIT_EXISTS = 'org.freedesktop.systemd1.UnitExists';

/** The part of systemd's manager that makes and ends scopes. */
export class SystemdManager {
  readonly #bus: DBusConnection;
  readonly #isBus: boolean;

  private constructor(bus: DBusConnection, isBus: boolean) {
    this.#bus = bus;
    this.#isBus = isBus;
  }

  /** Connects to systemd. @throws SYSTEMD_UNREACHABLE when it does not run this machine */
  static async open(sockets: readonly SystemdSocket[] = SYSTEMD_SOCKETS): Promise<SystemdManager> {
    const failures: string[] = [];
    for (const { path, isBus } of sockets) {
      try {
        const bus = await DBusConnection.open(path, AbortSignal.timeout(TIMEOUT_MS));
        const manager = new SystemdManager(bus, isBus);
        if (isBus) await manager.#register();
        return manager;
      } catch (error) {
        failures.push(`"${path}": ${(error as Error).message}`);
      }
    }
    throw new TkadmError('SYSTEMD_UNREACHABLE', `Cannot reach systemd: ${failures.join('; ')}`, {
      hint: 'Without systemd leave "--systemd-cgroup" out (Podman: --cgroup-manager=cgroupfs)',
    });
  }

  /** 252 of "252.39-1~deb12u2". */
  async version(): Promise<number> {
    const text = String(await this.#property(SYSTEMD.path, MANAGER, 'Version'));
    return Number(/\d+/.exec(text)?.[0] ?? 0);
  }

  /** Starts a unit that ends with its processes. @throws SYSTEMD_REFUSED */
  async startScope(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    const start = () =>
      this.#runJob({
        member: 'StartTransientUnit',
        signature: 'ssa(sv)a(sa(sv))',
        body: [unit, REPLACE, properties, []],
      });
    try {
      await start();
    } catch (error) {
      // One that has failed is kept until somebody has seen it.
      if (!isRefusal(error, UNIT_EXISTS)) throw error;
      await this.#forget(unit);
      await start();
    }
  }

  /** Stops a unit and forgets that it failed; does nothing when it is not there. @throws SYSTEMD_REFUSED */
  async stop(unit: string): Promise<void> {
    try {
      await this.#runJob({ member: 'StopUnit', signature: 'ss', body: [unit, REPLACE] });
    } catch (error) {
      if (!isRefusal(error, NO_SUCH_UNIT)) throw error;
    }
    await this.#forget(unit);
  }

  /** Changes properties until the unit ends. @throws SYSTEMD_REFUSED */
  async setProperties(unit: string, properties: readonly UnitProperty[]): Promise<void> {
    await this.#call({ member: 'SetUnitProperties', signature: 'sba(sv)', body: [unit, true, properties] });
  }

  /** The path of a scope's cgroup. @throws SYSTEMD_REFUSED */
  async controlGroup(unit: string): Promise<string> {
    const [path] = await this.#call({ member: 'GetUnit', signature: 's', body: [unit] });
    return String(await this.#property(String(path), 'org.freedesktop.systemd1.Scope', 'ControlGroup'));
  }

  close(): void {
    this.#bus.close();
  }

  async #register(): Promise<void> {
    await this.#bus.call({ ...BUS, member: 'Hello' });
    await this.#bus.call({ ...BUS, member: 'AddMatch', signature: 's', body: [JOB_RULE] });
    await this.#call({ member: 'Subscribe' });
  }

  async #forget(unit: string): Promise<void> {
    try {
      await this.#call({ member: 'ResetFailedUnit', signature: 's', body: [unit] });
    } catch (error) {
      if (!isTkadmError(error, 'SYSTEMD_REFUSED')) throw error;
    }
  }

  /** Calls a method that returns a job, and waits for its end: JobRemoved(id, job, unit, result). */
  async #runJob(call: ManagerCall): Promise<void> {
    const end = new AbortController();
    const signals = this.#bus.signals(end.signal);
    try {
      const [job] = await this.#call(call);
      for await (const { member, body } of signals) {
        if (member !== 'JobRemoved' || body[1] !== job) continue;
        if (body[3] === 'done') return;
        const state = `the job ended with "${String(body[3])}"`;
        throw new TkadmError(
          'SYSTEMD_REFUSED',
          `Cannot ${call.member} "${String(call.body?.[0])}": ${state}`,
        );
      }
    } finally {
      end.abort();
    }
  }

  async #property(path: string, of: string, name: string): Promise<DBusValue> {
    const [variant] = await this.#send({
      path,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      signature: 'ss',
      body: [of, name],
    });
    return (variant as DBusVariant).value;
  }

  #call(call: ManagerCall): Promise<readonly DBusValue[]> {
    return this.#send({ path: SYSTEMD.path, interface: MANAGER, ...call });
  }

  #send(call: DBusCall): Promise<readonly DBusValue[]> {
    return this.#bus.call(this.#isBus ? { destination: SYSTEMD.destination, ...call } : call);
  }
}

export interface SystemdSocket {
  readonly path: string;
  /** Others are on it as well. */
  readonly isBus: boolean;
}

type ManagerCall = Pick<DBusCall, 'member' | 'signature' | 'body'>;

function isRefusal(error: unknown, name: string): boolean {
  return isTkadmError(error, 'SYSTEMD_REFUSED') && error.details?.['name'] === name;
}
