from cove.operator import Entity, Operator, Struct, entity


class Spec(Struct):
    name: str = "world"


class Status(Struct):
    text: str = ""


@entity("greetings.example.com/v1")
class Greeting(Entity):
    spec: Spec = Spec()
    status: Status = Status()


op = Operator("greeter")


@op.reconcile(Greeting)
async def greet(greeting: Greeting) -> None:
    greeting.status.text = f"Hello, {greeting.spec.name}!"


if __name__ == "__main__":
    op.main()
