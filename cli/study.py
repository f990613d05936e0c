import click
@click.command()
def study():
    pass
