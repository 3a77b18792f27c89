"""refdesk actions: the action server that a library's Rasa assistant calls."""

import asyncio
from typing import Annotated

import typer

from api.cli.shell import Failed, load_settings, one_command, open_database, say

app = one_command("actions")
COMMANDS = {"actions": app}
PORT = 5055  # where Rasa looks for its actions
GRACE_SECONDS = 5


@app.command()
def actions(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
    account: Annotated[
        str | None, typer.Option(help="The rasa_server account, where there are several.")
    ] = None,
    grpc: Annotated[bool, typer.Option("--grpc", help="Speak gRPC instead of HTTP.")] = False,
) -> None:
    """Serve rasa-sdk actions: answers, hand-over, opening hours; until it is stopped.

    Example: refdesk actions --port 5055
    """
    from api import logs
    from api.action_server import AccountDesk, account_for, create_action_app, create_executor
    from api.app import create_state

    settings = load_settings()
    with open_database(settings):
        pass  # the tables are there, and of this version
    logs.configure(settings)
    state = create_state(settings)
    try:
        served = account_for(state, account)
        desk = AccountDesk(state, served)
        desk.warm()
        if not grpc:
            _serve(create_action_app(desk), served.name, host or settings.host, port)
            return
        if desk.token is not None:
            raise Failed("rasa-sdk's gRPC checks no token: use HTTP, or remove action_token.")
        _serve_grpc(create_executor(desk), port)
    finally:
        state.close()


def _serve(app: object, name: str, host: str, port: int) -> None:
    import uvicorn

    say(f"refdesk actions for {name} listen on http://{host}:{port}/webhook  (stop with Ctrl-C)")
    server = uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # any ASGI application
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    server.run()
    if not server.started:
        raise Failed(f"Nothing can listen on {host} port {port}: choose another with --port.")


def _serve_grpc(executor: object, port: int) -> None:
    """rasa-sdk's own gRPC server, which listens on every address of this machine."""
    from rasa_sdk.grpc_server import run_grpc

    say(f"refdesk actions listen on port {port} (gRPC, all addresses; stop with Ctrl-C)")
    asyncio.run(run_grpc(executor, port=port))
