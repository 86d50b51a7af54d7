"""dm-fhir keys: the key pair of a login by SMART Backend Services, what the hospital needs of it, and the key of pseudonyms."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.private_file import PSEUDONYM_KEY, make_pseudonym_key
from dm_fhir.cli.study import chosen, site_option
from dm_fhir.config import Auth, Config, Site, load_config
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.fhir.keys import Kind, SigningKey


@click.group("keys")
def command() -> None:
    """Key pairs for logins by SMART Backend Services: make one, show what the hospital needs of it. And the key of pseudonyms.

    \b
    Examples:
      dm-fhir keys create --site leon
      dm-fhir keys show --site leon
      dm-fhir keys show --jwks > leon.jwks.json
      dm-fhir keys create --kind rsa --output keys/leon.pem
      dm-fhir keys pseudonym
    """


@command.command("create", short_help="Make a key pair.")
@click.option(
    "--site",
    "site_name",
    metavar="NAME",
    help="The site that it is for: the key goes where its config says.",
    shell_complete=site_names,
)
@click.option(
    "--kind", type=click.Choice(["ec", "rsa"]), default="ec", show_default=True, help="EC P-384 (ES384) or RSA (RS384)."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="The private key's file; needs no config."
)
@click.pass_context
def create(ctx: click.Context, site_name: str | None, kind: "Kind", output: Path | None) -> int:
    """Make a key pair: the private key with mode 0600, the public one beside it. Replaces nothing.

    \b
    Examples:
      dm-fhir keys create --site leon
      dm-fhir keys create --kind rsa --output keys/leon.pem
    """
    from dm_fhir.fhir.keys import write_key_pair

    config_path: Path = ctx.obj[0]
    private = output or _place(load_config(config_path), site_name)
    public = private.with_suffix(".public.pem")
    try:
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = write_key_pair(private, public, kind)
    except OSError as error:
        there = [path for path in (private, public) if isinstance(error, FileExistsError) and path.exists()]
        if there:
            hint = "name another file: dm-fhir keys create --output PATH"
            raise ConfigError(f"{there[0]} exists already; it is left as it is", hint=hint) from None
        raise ConfigError(f"{private} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {private} ({key.kind}, mode 0600; nobody else may have it) and {public}")
    click.echo(f"put into [site.auth]{f' of {site_name}' if site_name else ''}:")
    click.echo(f"  private_key = {json.dumps(f'file:{_from(config_path, private)}', ensure_ascii=False)}")
    click.echo(f'  key_id = "{key.kid}"')
    which = f"--site {site_name}" if site_name else str(private)
    click.echo(f"and give the hospital what this prints: dm-fhir keys show --jwks {which}")
    return 0


@command.command("show", short_help="Show what the hospital needs of the keys.")
@click.argument("keyfile", type=click.Path(path_type=Path), required=False)
@site_option
@click.option("--jwks", "as_jwks", is_flag=True, help="Print the public keys as a JWK set and nothing else.")
@click.pass_context
def show(ctx: click.Context, keyfile: Path | None, sites: tuple[str, ...], as_jwks: bool) -> int:
    """Show the keys of the sites' logins, or the one in KEYFILE: what the hospital needs, nothing that is private.

    \b
    Examples:
      dm-fhir keys show
      dm-fhir keys show --jwks --site leon
      dm-fhir keys show --jwks keys/leon.pem
    """
    from dm_fhir.fhir.keys import jwks

    if keyfile and sites:
        raise click.UsageError("KEYFILE or --site, not both")
    logins = [_of_file(keyfile)] if keyfile else _of_sites(chosen(load_config(ctx.obj[0]), sites), named=bool(sites))
    if as_jwks:
        click.echo(jwks(login.key for login in logins))
    else:
        click.echo("\n".join(line for login in logins for line in _lines(login)))
    return 0


@command.command("pseudonym", short_help="Make the key of a study's pseudonyms.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Its file; default keys/pseudonym.key."
)
@click.pass_context
def pseudonym(ctx: click.Context, output: Path | None) -> int:
    """Make the key of a study's pseudonyms, mode 0600, beside the config. Replaces nothing.

    Sites whose case series are to be merged use one key: with it the same person has the same pseudonym at each.

    \b
    Examples:
      dm-fhir keys pseudonym
      dm-fhir keys pseudonym --output /etc/dm-fhir/pseudonym.key
    """
    config_path: Path = ctx.obj[0]
    path = output or config_path.parent / PSEUDONYM_KEY
    if not make_pseudonym_key(path):
        raise ConfigError(f"{path} exists already; it is left as it is")
    click.echo(f"wrote {path} (mode 0600; who has it can tell whose a pseudonym is)")
    click.echo("put into [study]:")
    click.echo(f"  pseudonym_key = {json.dumps(f'file:{_from(config_path, path)}', ensure_ascii=False)}")
    return 0


class _Login(NamedTuple):
    """A login by a key. `which` says on the command line which it is."""

    title: str
    which: str
    auth: Auth
    key: "SigningKey"


def _place(config: Config, site_name: str | None) -> Path:
    """Where the site's config says that its private key is, else in `keys` beside the config."""
    site = config.site(site_name) if site_name else _only_site(config)
    secret = site.auth.private_key
    if secret and secret.file:
        return secret.file
    return config.path.parent / "keys" / f"{site.name}.pem"


def _only_site(config: Config) -> Site:
    sites = [site for site in config.sites if site.auth.method == "smart-backend"] or list(config.sites)
    if len(sites) > 1:
        known = ", ".join(site.name for site in sites)
        raise ConfigError("there are several sites: which one is the key for?", hint=f"name it by --site: {known}")
    return sites[0]


def _from(config_path: Path, path: Path) -> Path:
    """`path` as the config would name it: relative where it lies below its folder."""
    folder, path = config_path.resolve().parent, path.resolve()
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _of_file(path: Path) -> _Login:
    from dm_fhir.fhir.keys import read_signing_key

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # its text would repeat the key's bytes
        raise ConfigError(f"{path} is not text: a key is PEM or JWK") from None
    return _Login(str(path), str(path), Auth(), read_signing_key(text))


def _of_sites(sites: tuple[Site, ...], *, named: bool) -> list[_Login]:
    """The logins by key. A site that was asked for by name must have one."""
    from dm_fhir.fhir.login import signing_key

    without = [site for site in sites if site.auth.method != "smart-backend"]
    if without and (named or len(without) == len(sites)):
        raise ConfigError(
            f"site {without[0].name} does not log in with a key (method = {without[0].auth.method})",
            hint='set method = "smart-backend" in [site.auth], or name a file: dm-fhir keys show KEYFILE',
        )
    with_key = [site for site in sites if site not in without]
    return [_Login(site.name, f"--site {site.name}", site.auth, signing_key(site.auth)) for site in with_key]


def _lines(login: _Login) -> list[str]:
    auth, key = login.auth, login.key
    published = f"published at {auth.jku}: put there" if auth.jku else "give them"
    place = f" ({auth.private_key.place})" if auth.private_key else ""
    return [
        f"{login.title}{place}:",
        f"  key         {key.kind}, signs with {key.algorithm}",
        f"  kid         {key.kid}",
        f"  thumbprint  {key.thumbprint} (RFC 7638)",
        "  the hospital registers:",
        f"    client id                        {auth.client_id or '(the one that the hospital chooses)'}",
        "    grant type                       client_credentials (SMART Backend Services)",
        "    token_endpoint_auth_method       private_key_jwt",
        f"    token_endpoint_auth_signing_alg  {key.algorithm}",
        f"    scope                            {auth.scope}",
        f"    public key                       {published} what this prints: dm-fhir keys show --jwks {login.which}",
    ]
