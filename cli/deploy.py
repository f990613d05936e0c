import click
@click.command()
def deploy():
    pass
